import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { machinesV1 } from '@sluice/contract';
import { apiKeyDigest, type ApiKeyEnvironment, apiKeyEnvironments, newApiKey } from '@sluice/identity';
import { Problem } from '@sluice/problem';
import type { Call } from '@sluice/service';
import { transaction } from '@sluice/storage';
import { DataSource, type EntityManager } from 'typeorm';
import { invalid, readText } from '../accounts/credentials.js';
import { onlyOperators, OPERATOR_ROLE } from '../admin/user-changes.js';
import { AuditLog } from '../audit/audit-log.js';
import { UUID } from '../sessions/sessions.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import { type ApiKeyRow, apiKeyStore, type KeyOwner, type NewApiKeyText } from './api-key-store.js';
import { readRestrictions, readScopes } from './restrictions.js';

const LIFETIME_SECONDS_MIN = 60;
/** Five years. */
export const LIFETIME_SECONDS_MAX = 157_680_000;
const OVERLAP_SECONDS = 86_400;
const OVERLAP_SECONDS_MAX = 604_800;
const PREFIX_CHARACTERS = 13;

/** Who manages keys, and of whose tenant. */
export interface KeyManager {
  readonly tenant: string;
  /** A user or service account; empty: the operator at the command line. */
  readonly subject: string;
  readonly isAdmin: boolean;
  readonly isOperator: boolean;
  /** Space-separated; what the manager's own token is bounded by, empty: nothing. */
  readonly scope: string;
}

/** A key and, this once, its text. */
export interface ShownApiKey {
  readonly key: ApiKeyRow;
  readonly secret: string;
}

/** API keys: what is granted is bounded by what the owner has, and what is ended is told to the gateways by triggers of the tables. */
@Injectable()
export class ApiKeys {
  constructor(
    private readonly dataSource: DataSource,
    private readonly audit: AuditLog,
    @Inject(SETTINGS) private readonly settings: Pick<UserSettings, 'API_KEYS_PER_OWNER'>,
  ) {}

  /** @throws Problem INVALID_ARGUMENT, PERMISSION_DENIED, NOT_FOUND, FAILED_PRECONDITION when the owner has as many as it may */
  async create(call: Call, by: KeyManager, request: machinesV1.CreateApiKeyRequest): Promise<ShownApiKey> {
    const { tenant } = by;
    const ownerId = request.owner_id === '' ? by.subject : request.owner_id;
    const environment = readEnvironment(request.environment);
    const asked = {
      name: readName(request.name),
      roles: [...new Set(request.roles)].toSorted(),
      scopes: readScopes(request.scopes),
      ...readRestrictions(request.restrictions),
      account: readAccount(by, request.account),
      expiresInSeconds: readLifetime(request.expires_in_seconds),
    };
    const [id, secret] = [randomUUID(), newApiKey(environment)];
    await transaction(this.dataSource, call, async (manager) => {
      const owner = await this.holdOwner(manager, by, ownerId);
      checkGrants(by, owner, asked, ownerId === by.subject);
      if ((await apiKeyStore.countWithin(manager, ownerId)) >= this.settings.API_KEYS_PER_OWNER) {
        throw new Problem(
          'FAILED_PRECONDITION',
          `The owner has ${this.settings.API_KEYS_PER_OWNER} keys, which is the most; revoke one first.`,
        );
      }
      const key = { id, tenant, ownerId, ownerKind: owner.kind, environment, ...asked };
      await apiKeyStore.insertWithin(manager, key, textOf(secret));
      const event = {
        tenant,
        action: 'api-key.create',
        outcome: 'success',
        subject: ownerId,
        sessionId: `key:${id}`,
      } as const;
      await this.audit.recordWithin(manager, call, event);
    });
    return { key: await this.found(call, tenant, id), secret };
  }

  /** @throws Problem PERMISSION_DENIED for keys of others, which are an administrator's to see */
  list(call: Call, by: KeyManager, asked: string, before: string | null, limit: number): Promise<ApiKeyRow[]> {
    const owner = asked === '' ? by.subject : asked;
    if (owner !== by.subject && !by.isAdmin) {
      throw new Problem('PERMISSION_DENIED', 'Only an administrator lists the keys of others.');
    }
    if (owner !== '-' && !UUID.test(owner)) throw invalid('owner_id', 'must be a UUID, or -');
    return apiKeyStore.list(this.dataSource, call, by.tenant, before, owner === '-' ? null : owner, limit);
  }

  /** @throws Problem NOT_FOUND for a key that the manager may not see */
  async get(call: Call, by: KeyManager, id: string): Promise<ApiKeyRow> {
    const row = UUID.test(id) ? await apiKeyStore.find(this.dataSource, call, by.tenant, id) : undefined;
    if (!row || !(by.isAdmin || ownerOf(row) === by.subject)) throw unknownKey();
    return row;
  }

  async rename(call: Call, by: KeyManager, id: string, text: string): Promise<ApiKeyRow> {
    const name = readName(text);
    const key = await this.managed(call, by, id);
    await apiKeyStore.rename(this.dataSource, call, by.tenant, id, name);
    await this.audit.record(call, eventOf(key, 'api-key.rename'));
    return this.found(call, by.tenant, id);
  }

  /** @throws Problem NOT_FOUND; FAILED_PRECONDITION for a key that was revoked or has expired */
  async rotate(call: Call, by: KeyManager, id: string, overlap = OVERLAP_SECONDS): Promise<ShownApiKey> {
    if (overlap < 0 || overlap > OVERLAP_SECONDS_MAX) {
      throw invalid('overlap_seconds', `must be 0 to ${OVERLAP_SECONDS_MAX}`);
    }
    const key = await this.managed(call, by, id);
    const secret = newApiKey(key.environment as ApiKeyEnvironment);
    await transaction(this.dataSource, call, async (manager) => {
      if ((await apiKeyStore.holdWithin(manager, by.tenant, id)) === undefined) {
        throw new Problem('FAILED_PRECONDITION', 'The key was revoked or has expired; create another.');
      }
      await apiKeyStore.endTextsWithin(manager, id, overlap);
      await apiKeyStore.addTextWithin(manager, id, textOf(secret));
      await this.audit.recordWithin(manager, call, eventOf(key, 'api-key.rotate'));
    });
    return { key: await this.found(call, by.tenant, id), secret };
  }

  async revoke(call: Call, by: KeyManager, id: string): Promise<ApiKeyRow> {
    const key = await this.get(call, by, id);
    await transaction(this.dataSource, call, async (manager) => {
      if (!(await apiKeyStore.revokeWithin(manager, by.tenant, id))) return;
      await this.audit.recordWithin(manager, call, eventOf(key, 'api-key.revoke'));
    });
    return this.found(call, by.tenant, id);
  }

  /** A key whose text or name the manager may change: their own, or a service account's. Another user's could be used to act as that user. */
  private async managed(call: Call, by: KeyManager, id: string): Promise<ApiKeyRow> {
    const key = await this.get(call, by, id);
    if (ownerOf(key) === by.subject || by.subject === '') return key;
    if (key.user_id !== null)
      throw new Problem('PERMISSION_DENIED', 'This key is another user’s: it can only be revoked.');
    if (key.roles.includes(OPERATOR_ROLE) && !by.isOperator) throw onlyOperators();
    return key;
  }

  private async holdOwner(manager: EntityManager, by: KeyManager, ownerId: string): Promise<KeyOwner> {
    const owner = UUID.test(ownerId) ? await apiKeyStore.holdOwner(manager, by.tenant, ownerId) : undefined;
    const own = ownerId === by.subject;
    if (!own && !by.isAdmin)
      throw new Problem('PERMISSION_DENIED', 'Only an administrator creates keys for a service account.');
    if (!owner) throw new Problem('NOT_FOUND', 'The tenant has no such user or service account.');
    if (!own && owner.kind === 'user' && by.subject !== '') {
      throw new Problem(
        'PERMISSION_DENIED',
        'A user’s keys are created by that user; owner_id must name a service account.',
      );
    }
    if (owner.guest) throw new Problem('PERMISSION_DENIED', 'Guests have no keys.');
    if (owner.locked) throw new Problem('FAILED_PRECONDITION', 'The owner is locked.');
    return owner;
  }

  private async found(call: Call, tenant: string, id: string): Promise<ApiKeyRow> {
    const row = await apiKeyStore.find(this.dataSource, call, tenant, id);
    if (!row) throw unknownKey();
    return row;
  }
}

export const ownerOf = (row: Pick<ApiKeyRow, 'user_id' | 'account_id'>) => row.user_id ?? row.account_id ?? '';

/** @throws Problem INVALID_ARGUMENT, PERMISSION_DENIED for more than the owner has, or than the manager may give */
function checkGrants(
  by: KeyManager,
  owner: KeyOwner,
  { roles, scopes }: { readonly roles: readonly string[]; readonly scopes: readonly string[] },
  own: boolean,
): void {
  const lacking = roles.find((role) => !owner.roles.includes(role));
  if (lacking !== undefined) throw invalid('roles', `must be among those of the owner, who has not ${lacking}`);
  if (!own && roles.includes(OPERATOR_ROLE) && !by.isOperator) throw onlyOperators();
  const ownerScopes = owner.scopes;
  const beyond = ownerScopes === null ? undefined : scopes.find((scope) => !ownerScopes.includes(scope));
  if (beyond !== undefined) throw invalid('scopes', `must be among those of the owner, who has not ${beyond}`);
  const bounds = by.scope === '' || !own ? undefined : by.scope.split(' ');
  const ungiven = bounds && scopes.find((scope) => !bounds.includes(scope));
  if (bounds && (ungiven !== undefined || scopes.length === 0)) {
    throw invalid('scopes', 'must be among those of your token');
  }
}

function eventOf(key: ApiKeyRow, action: 'api-key.rename' | 'api-key.revoke' | 'api-key.rotate') {
  return { tenant: key.tenant, action, outcome: 'success', subject: ownerOf(key), sessionId: `key:${key.id}` } as const;
}

function textOf(secret: string): NewApiKeyText {
  return { digest: apiKeyDigest(secret), prefix: secret.slice(0, PREFIX_CHARACTERS), lastFour: secret.slice(-4) };
}

export function readName(text: string): string {
  const name = readText(text, 'name', 100).trim();
  if (name === '') throw invalid('name', 'must have 1 to 100 characters');
  return name;
}

/** Budgets are an administrator's to divide: whoever could choose an account would spend another's. */
function readAccount(by: KeyManager, account: string): string {
  if (account !== '' && !by.isAdmin)
    throw new Problem('PERMISSION_DENIED', 'Only an administrator names the account of a key.');
  if (account !== '' && !/^[\x21-\x7e]{1,255}$/.test(account)) {
    throw invalid('account', 'must have 1 to 255 characters of ASCII without spaces');
  }
  return account;
}

function readEnvironment(text: string): ApiKeyEnvironment {
  const environment = text === '' ? 'live' : apiKeyEnvironments.find((one) => one === text);
  if (!environment) throw invalid('environment', `must be ${apiKeyEnvironments.join(' or ')}`);
  return environment;
}

/** 0: without an end. */
export function readLifetime(seconds: number): number {
  if (seconds === 0 || (seconds >= LIFETIME_SECONDS_MIN && seconds <= LIFETIME_SECONDS_MAX)) return seconds;
  throw invalid('expires_in_seconds', `must be ${LIFETIME_SECONDS_MIN} to ${LIFETIME_SECONDS_MAX}, or 0 for no end`);
}

function unknownKey(): Problem {
  return new Problem('NOT_FOUND', 'There is no such key.');
}
