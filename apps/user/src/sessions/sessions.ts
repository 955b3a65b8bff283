import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { userV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import type { Call, Caller } from '@sluice/service';
import { DataSource, type EntityManager } from 'typeorm';
import { tenantMismatch } from '../accounts/meant-tenant.js';
import type { UserRow } from '../accounts/account-store.js';
import { AuditLog } from '../audit/audit-log.js';
import { Keys } from '../keys/keys.js';
import { UserMetrics } from '../metrics.js';
import { SETTINGS, tokenReachSeconds, type UserSettings } from '../settings.js';
import { TokenIssuer } from '../tokens/token-issuer.js';
import { parseRefreshToken } from './refresh-token.js';
import {
  type NewSession,
  type SessionOwner,
  type SessionRow,
  sessionStore,
  type SessionStanding,
} from './session-store.js';

export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** A user as it was read when the password was checked. */
type CheckedUser = Pick<UserRow, 'id' | 'password_version'>;

/** Opens, rotates and ends sessions (design §9). */
@Injectable()
export class Sessions {
  constructor(
    private readonly dataSource: DataSource,
    private readonly keys: Keys,
    private readonly issuer: TokenIssuer,
    private readonly audit: AuditLog,
    private readonly metrics: UserMetrics,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  /**
   * For a user whose password was checked.
   *
   * @throws Problem PERMISSION_DENIED when the account was locked, or got another password, since it was read
   */
  async open(call: Call, user: CheckedUser, device: string): Promise<userV1.TokenResponse> {
    const session = this.newSession(call, user.id, user.password_version, device);
    const owner = await sessionStore.insert(this.dataSource, call, session, this.seconds);
    if (!owner) throw changedMeanwhile();
    await this.endOldest(call, owner);
    return this.issuer.tokensOf(owner);
  }

  /** The same within a transaction that has the user. */
  async openWithin(manager: EntityManager, call: Call, userId: string, device: string): Promise<userV1.TokenResponse> {
    const session = this.newSession(call, userId, undefined, device);
    const owner = await sessionStore.insertWithin(manager, session, this.seconds);
    if (!owner) throw changedMeanwhile();
    return this.issuer.tokensOf(owner);
  }

  /**
   * Exchanges a refresh token for its successor.
   *
   * Whoever presents the previous generation within the grace gets the successor that exists already; the grace is
   * counted from the rotation by the database's clock, so it does not slide. Anything older, or later, is a stolen or
   * copied token: the session ends.
   *
   * @param tenant that the call says it is for, which must be the session's; empty: none
   * @throws Problem INVALID_GRANT, RATE_LIMIT_EXCEEDED when the session rotates too often, TENANT_MISMATCH
   */
  async rotate(call: Call, text: string, tenant: string): Promise<userV1.TokenResponse> {
    const token = parseRefreshToken(this.keys.current.refreshSecret, text);
    if (!token) throw this.refused('refused', 'The refresh token is not one of this service.');
    const { sessionId, generation } = token;
    const { SESSION_IDLE_SECONDS: idleSeconds, REFRESH_PER_MINUTE: perMinute } = this.settings;
    const bounds = { idleSeconds, perMinute, tokenSeconds: tokenReachSeconds(this.settings) };
    const rotated = await sessionStore.rotate(this.dataSource, call, sessionId, generation, bounds, tenant);
    if (rotated) {
      this.metrics.refreshes.inc({ outcome: 'rotated' });
      return this.issuer.tokensOf(rotated);
    }
    const standing = await this.find(call, sessionId);
    if (standing && tenant !== '' && standing.tenant !== tenant) {
      this.metrics.refreshes.inc({ outcome: 'refused' });
      throw tenantMismatch('The refresh token', standing.tenant, tenant);
    }
    if (standing?.alive && standing.generation === generation && standing.rotation_wait_ms > 0) {
      await this.recordRefresh(call, standing, 'too-often');
      throw this.tooOften(standing.rotation_wait_ms);
    }
    if (!standing?.alive || standing.generation <= generation) {
      if (standing) await this.recordRefresh(call, standing, 'ended');
      throw this.refused('refused', 'The session has ended.');
    }
    if (standing.generation === generation + 1 && standing.within_grace) {
      this.metrics.refreshes.inc({ outcome: 'repeated' });
      return this.issuer.tokensOf(standing);
    }
    if (await sessionStore.revoke(this.dataSource, call, sessionId, 'refresh-reuse')) {
      const { tenant: own, user_id: subject } = standing;
      await this.audit.record(call, { tenant: own, action: 'session.reuse', outcome: 'revoked', subject, sessionId });
    }
    throw this.refused('reuse', 'The refresh token was used before; the session has ended.');
  }

  /** @returns undefined when there is no such session any more */
  find(call: Call, sessionId: string): Promise<SessionStanding | undefined> {
    const { REFRESH_GRACE_SECONDS, REFRESH_PER_MINUTE } = this.settings;
    return sessionStore.find(this.dataSource, call, sessionId, REFRESH_GRACE_SECONDS, REFRESH_PER_MINUTE);
  }

  async end(call: Call, caller: Caller, everywhere: boolean): Promise<void> {
    const { subject, tenant, session: sessionId } = caller;
    if (!UUID.test(sessionId)) return;
    if (everywhere) {
      const ended = await sessionStore.revokeEverywhere(this.dataSource, call, subject, tenant, sessionId);
      if (ended > 0) await this.audit.record(call, { tenant, action: 'logout', outcome: 'everywhere', subject });
    } else if (await sessionStore.revoke(this.dataSource, call, sessionId, 'logout')) {
      await this.audit.record(call, { tenant, action: 'logout', outcome: 'success', subject, sessionId });
    }
  }

  /** Ends the session of a token that was shown, whoever shows it (RFC 7009 section 2.1). */
  async revokeShown(call: Call, sessionId: string): Promise<void> {
    const standing = await this.find(call, sessionId);
    if (!standing || !(await sessionStore.revoke(this.dataSource, call, sessionId, 'revoked'))) return;
    const { tenant, user_id: subject } = standing;
    await this.audit.record(call, { tenant, action: 'session.revoke', outcome: 'success', subject, sessionId });
  }

  list(call: Call, caller: Caller): Promise<SessionRow[]> {
    return sessionStore.list(this.dataSource, call, caller.subject, caller.tenant);
  }

  /** @throws Problem NOT_FOUND for a session that is not the caller's */
  async revokeOwn(call: Call, { subject, tenant }: Caller, sessionId: string): Promise<void> {
    const own =
      UUID.test(sessionId) && (await sessionStore.belongsTo(this.dataSource, call, sessionId, subject, tenant));
    if (!own) throw new Problem('NOT_FOUND', 'You have no such session.');
    if (await sessionStore.revoke(this.dataSource, call, sessionId, 'revoked')) {
      await this.audit.record(call, { tenant, action: 'session.revoke', outcome: 'success', subject, sessionId });
    }
  }

  private get seconds() {
    const { SESSION_IDLE_SECONDS: idle, SESSION_ABSOLUTE_SECONDS: absolute } = this.settings;
    return { idle, absolute, token: tokenReachSeconds(this.settings) };
  }

  private newSession(call: Call, userId: string, passwordVersion: number | undefined, device: string): NewSession {
    return { id: randomUUID(), userId, passwordVersion, device, address: call.clientAddress };
  }

  /** Those beyond SESSIONS_PER_USER. */
  private async endOldest(call: Call, { user_id: subject, tenant }: SessionOwner): Promise<void> {
    const ended = await sessionStore.keepLatest(this.dataSource, call, subject, this.settings.SESSIONS_PER_USER);
    await this.audit.recordSessions(call, { tenant, action: 'session.revoke', outcome: 'too-many', subject }, ended);
  }

  /** A refresh that was refused although the token is one of ours. */
  private async recordRefresh(call: Call, standing: SessionStanding, outcome: string): Promise<void> {
    const { tenant, user_id: subject, session_id: sessionId } = standing;
    await this.audit.record(call, { tenant, action: 'session.refresh', outcome, subject, sessionId });
  }

  private tooOften(waitMs: number): Problem {
    this.metrics.refreshes.inc({ outcome: 'limited' });
    return new Problem('RATE_LIMIT_EXCEEDED', 'This session refreshes too often.', {
      details: {
        blocked_by: 'user',
        policy: 'session-refresh',
        limit: this.settings.REFRESH_PER_MINUTE,
        window_seconds: 60,
        retry_after_ms: waitMs,
      },
    });
  }

  private refused(outcome: string, detail: string): Problem {
    this.metrics.refreshes.inc({ outcome });
    return new Problem('INVALID_GRANT', detail);
  }
}

function changedMeanwhile(): Problem {
  return new Problem('PERMISSION_DENIED', 'The account is locked, or its password was changed a moment ago.');
}
