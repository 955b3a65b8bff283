import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { userV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import { asProblem, type Call } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource, type EntityManager } from 'typeorm';
import { Accounts } from '../accounts/accounts.js';
import { invalid, readText } from '../accounts/credentials.js';
import { AuditLog } from '../audit/audit-log.js';
import { LateRecords } from '../audit/late-records.js';
import { Keys } from '../keys/keys.js';
import { seal, unseal } from '../keys/seal.js';
import { UserMetrics } from '../metrics.js';
import { networkOf } from '@sluice/identity';
import { Turns } from '../protection/turns.js';
import { type SessionOwner, sessionStore } from '../sessions/session-store.js';
import { Sessions, UUID } from '../sessions/sessions.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import { TokenIssuer } from '../tokens/token-issuer.js';
import { allowanceOf, refusalOf, standingOf } from './allowance.js';
import { FullAddresses } from './full-addresses.js';
import {
  backoffMs,
  type GuestLimits,
  guestLimits,
  type GuestRefusal,
  guestTerms,
  longer,
  longestRefusal,
  policyNameOf,
} from './guest-limits.js';
import { deviceOf, type GuestDevice, type GuestKey, guestStore } from './guest-store.js';

const DEVICE_ID_CHARACTERS_MAX = 200;
const CAUSE = /^[a-z0-9_.-]{1,64}$/;
/** A request for a guest token is decided within this time, whoever of those that share the decision leaves. */
const DECISION_MS = 10_000;
/** The cause that asks for another guest than the one whose token is alive. */
const QUOTA_USED_UP = 'quota_used_up';
/** A token with less left than this is not returned again. */
const TOKEN_LEFT_MS_MIN = 1000;

type GuestRequest = Pick<userV1.CreateGuestRequest, 'device_id' | 'cause' | 'tenant' | 'spent_session_id'>;

type Outcome =
  | { readonly kind: 'issued' | 'returned'; readonly tokens: userV1.TokenResponse }
  | { readonly kind: 'refused'; readonly refusal: GuestRefusal };

/** Anonymous tokens, a few per device (requirement U6). */
@Injectable()
export class Guests {
  private readonly limits: GuestLimits;
  private readonly terms: userV1.GuestTerms;
  /** Requests of one device that are decided together, so that a device that asks a hundred times at once takes one connection. */
  private readonly deciding = new Map<string, Promise<Outcome>>();
  private readonly turns = new Turns();
  private readonly full = new FullAddresses();

  constructor(
    private readonly dataSource: DataSource,
    private readonly accounts: Accounts,
    private readonly sessions: Sessions,
    private readonly issuer: TokenIssuer,
    private readonly keys: Keys,
    private readonly audit: AuditLog,
    private readonly late: LateRecords,
    private readonly metrics: UserMetrics,
    @Inject(SETTINGS) settings: UserSettings,
  ) {
    this.limits = guestLimits(settings);
    this.terms = guestTerms(settings);
  }

  /**
   * A token for the device: the one that is alive, for whoever asks from where it was issued, or a new one.
   *
   * @throws Problem INVALID_ARGUMENT; RATE_LIMIT_EXCEEDED with the limit and the wait
   */
  async create(call: Call, request: GuestRequest): Promise<userV1.TokenResponse> {
    const wish = readWish(request);
    const key = this.keyOf(call, request);
    try {
      await this.accounts.openTenant(call, request.tenant);
      return await this.attempt(call, key, wish);
    } catch (error) {
      this.recordFailure(key, wish.cause, asProblem(error));
      throw error;
    }
  }

  /**
   * What the device may ask for now; issues, locks and records nothing.
   *
   * @throws Problem INVALID_ARGUMENT
   */
  async allowance(call: Call, request: userV1.GetGuestLimitsRequest): Promise<userV1.GuestAllowance> {
    const key = this.keyOf(call, request);
    await this.accounts.openTenant(call, request.tenant);
    return transaction(this.dataSource, call, async (manager) => {
      const standing = await standingOf(manager, key, this.limits);
      const token = returnable(key, standing.device);
      const owner = token && (await sessionStore.findGuestWithin(manager, token.sessionId));
      return allowanceOf({ ...standing, live: owner !== undefined, terms: this.terms });
    });
  }

  private keyOf(call: Call, request: { readonly device_id: string; readonly tenant: string }): GuestKey {
    const deviceId = readText(request.device_id, 'device_id', DEVICE_ID_CHARACTERS_MAX);
    const network = networkOf(call.clientAddress);
    if (deviceId === '' && network === '') throw invalid('device_id', 'must not be empty');
    return { tenant: this.accounts.tenantOf(call, request.tenant), device: deviceOf(deviceId, network), network };
  }

  private async attempt(call: Call, key: GuestKey, wish: Wish): Promise<userV1.TokenResponse> {
    const { tenant, device, network } = key;
    const { cause } = wish;
    const flight = `${tenant} ${device} ${network} ${wish.spent ?? ''}`;
    const shared = this.deciding.get(flight);
    const deciding =
      shared ?? this.inTurn(key, () => this.decide(call, key, wish)).finally(() => this.deciding.delete(flight));
    if (!shared) this.deciding.set(flight, deciding);
    const outcome = await deciding;
    const name = outcome.kind === 'refused' ? `refused:${outcome.refusal.limit.name}` : outcome.kind;
    if (shared) await guestStore.record(this.dataSource, key, cause, name === 'issued' ? 'returned' : name);
    this.metrics.guests.inc({ outcome: shared && name === 'issued' ? 'returned' : name });
    if (outcome.kind === 'refused') throw refusalProblem(outcome.refusal);
    return outcome.tokens;
  }

  /** An attempt that came to no decision. What was refused has its row. */
  private recordFailure(key: GuestKey, cause: string, { code, status }: Problem): void {
    if (status < 499) return;
    const outcome = `failed:${code.toLowerCase()}`;
    const at = new Date();
    this.metrics.guests.inc({ outcome });
    this.late.add(() => guestStore.record(this.dataSource, key, cause, outcome, at));
  }

  /** Devices of one address are decided one after another, as the lock of the address asks for anyway. */
  private inTurn(key: GuestKey, decide: () => Promise<Outcome>): Promise<Outcome> {
    return key.network === '' ? decide() : this.turns.take(key.network, decide);
  }

  private async decide(call: Call, key: GuestKey, { cause, spent }: Wish): Promise<Outcome> {
    const caller = { deadline: Date.now() + DECISION_MS };
    const refusal = this.full.refusalOf(key.network);
    if (refusal) {
      const name = `refused:${refusal.limit.name}`;
      const { dataSource } = this;
      const recorded = await guestStore.recordWithoutToken(dataSource, caller, key, cause, name, TOKEN_LEFT_MS_MIN);
      if (recorded) return { kind: 'refused', refusal };
    }
    return transaction(this.dataSource, caller, async (manager) => {
      const device = await guestStore.lock(manager, key);
      const isSpent = spent === 'latest' || (spent !== undefined && spent === device.session_id);
      const alive = isSpent ? undefined : await this.aliveToken(manager, key, device);
      const outcome = alive ?? (await this.issueOrRefuse(manager, call, key, device));
      const name = outcome.kind === 'refused' ? `refused:${outcome.refusal.limit.name}` : outcome.kind;
      await guestStore.record(manager, key, cause, name);
      return outcome;
    });
  }

  private async aliveToken(manager: EntityManager, key: GuestKey, device: GuestDevice): Promise<Outcome | undefined> {
    const token = returnable(key, device);
    if (!token) return undefined;
    const { sealed, sessionId, leftMs } = token;
    const owner = await sessionStore.findGuestWithin(manager, sessionId);
    if (!owner) return undefined;
    const kept = unseal(this.keys.current.refreshSecret, purposeOf(key), sealed).toString();
    if (!this.issuer.vouchesFor(kept)) return this.signAnew(manager, key, owner);
    const tokens: userV1.TokenResponse = {
      access_token: kept,
      refresh_token: this.issuer.refreshTokenOf(sessionId, owner.generation),
      token_type: 'Bearer',
      expires_in: Math.floor(leftMs / 1000),
      session_id: sessionId,
      guest: true,
      guest_terms: this.terms,
    };
    return { kind: 'returned', tokens };
  }

  /** The token that is kept is refused by now, since its key was withdrawn or the settings changed: the same session gets another one, which lives no longer than that one might. */
  private async signAnew(manager: EntityManager, key: GuestKey, owner: SessionOwner): Promise<Outcome | undefined> {
    if (owner.tokens_left_seconds * 1000 < TOKEN_LEFT_MS_MIN) return undefined;
    const tokens = this.issuer.tokensOf(owner);
    await this.keep(manager, key, tokens);
    return { kind: 'returned', tokens };
  }

  private async keep(manager: EntityManager, key: GuestKey, tokens: userV1.TokenResponse): Promise<void> {
    const sealed = seal(this.keys.current.refreshSecret, purposeOf(key), Buffer.from(tokens.access_token));
    await guestStore.keep(manager, key, { sealed, seconds: tokens.expires_in, sessionId: tokens.session_id! });
  }

  private async issueOrRefuse(
    manager: EntityManager,
    call: Call,
    key: GuestKey,
    device: GuestDevice,
  ): Promise<Outcome> {
    const refusal = longer(await this.refusalOfDevice(manager, key, device), await this.refusalOfAddress(manager, key));
    if (refusal) return { kind: 'refused', refusal };
    const id = randomUUID();
    await guestStore.insertGuest(manager, key.tenant, id);
    const tokens = await this.sessions.openWithin(manager, call, id, 'guest');
    await this.keep(manager, key, tokens);
    await this.audit.recordWithin(manager, call, {
      tenant: key.tenant,
      action: 'guest.create',
      outcome: 'success',
      subject: id,
      sessionId: tokens.session_id,
    });
    return { kind: 'issued', tokens };
  }

  /** Refuses by what the device itself has had, which makes it wait longer each time. */
  private async refusalOfDevice(
    manager: EntityManager,
    key: GuestKey,
    device: GuestDevice,
  ): Promise<GuestRefusal | undefined> {
    const usages = await guestStore.usage(manager, key, 'device', this.limits.device);
    const refusal = refusalOf(usages, device, this.limits);
    if (!refusal) return undefined;
    const waitMs = Math.max(refusal.waitMs, backoffMs(this.limits, device.refusals + 1));
    await guestStore.refuse(manager, key, waitMs);
    return { limit: refusal.limit, waitMs };
  }

  /** Refuses by what all devices of the address have had. No fault of the device, whose back-off it leaves alone. */
  private async refusalOfAddress(manager: EntityManager, key: GuestKey): Promise<GuestRefusal | undefined> {
    if (key.network === '') return undefined;
    await guestStore.lockNetwork(manager, key.network);
    const sinceMs = this.full.clock();
    const refusal = longestRefusal(await guestStore.usage(manager, key, 'network', this.limits.address));
    if (refusal) this.full.remember(key.network, refusal, sinceMs);
    return refusal;
  }
}

/** Why a token is asked for, and which session it is to be another one than: `latest` is the one that the device has. */
interface Wish {
  readonly cause: string;
  readonly spent: string | undefined;
}

function readWish({ cause: given, spent_session_id: spent }: GuestRequest): Wish {
  const cause = given === '' ? 'unspecified' : given;
  if (!CAUSE.test(cause)) throw invalid('cause', 'must have 1 to 64 of a–z, 0–9, _, - and .');
  if (cause === QUOTA_USED_UP && (spent === '' || UUID.test(spent))) return { cause, spent: spent || 'latest' };
  if (spent === '') return { cause, spent: undefined };
  const why =
    cause === QUOTA_USED_UP ? 'must be the id of a session' : `must be empty unless cause is ${QUOTA_USED_UP}`;
  throw invalid('spent_session_id', why);
}

/** The token that the device may get again, as far as its row tells. */
function returnable({ network }: GuestKey, device: GuestDevice | undefined) {
  if (!device) return undefined;
  const { sealed_token: sealed, session_id: sessionId, token_ms: leftMs, address } = device;
  if (!sealed || !sessionId || leftMs === null || leftMs < TOKEN_LEFT_MS_MIN) return undefined;
  return address === network ? { sealed, sessionId, leftMs } : undefined;
}

const purposeOf = ({ tenant, device }: GuestKey) => `guest-token/${tenant}/${device}`;

function refusalProblem({ limit, waitMs }: GuestRefusal): Problem {
  const what =
    limit.blockedBy === 'ip'
      ? `This address has had its ${limit.count} new guest tokens of ${limit.seconds} s.`
      : 'This device has to wait for its next guest token.';
  return new Problem('RATE_LIMIT_EXCEEDED', `${what} Try again in ${Math.ceil(waitMs / 1000)} s.`, {
    details: {
      blocked_by: limit.blockedBy,
      policy: policyNameOf(limit),
      ...(limit.seconds > 0 && { limit: limit.count, window_seconds: limit.seconds }),
      retry_after_ms: waitMs,
    },
  });
}
