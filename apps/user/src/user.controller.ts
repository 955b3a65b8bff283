import { Metadata } from '@grpc/grpc-js';
import { Controller } from '@nestjs/common';
import { userV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import { currentCall, currentCaller } from '@sluice/service';
import type { UserRow } from './accounts/account-store.js';
import { Accounts } from './accounts/accounts.js';
import { readText } from './accounts/credentials.js';
import { Guests } from './guests/guests.js';
import { Upgrades } from './guests/upgrade.js';
import type { SessionRow } from './sessions/session-store.js';
import { Sessions } from './sessions/sessions.js';
import { RefreshCookie, sendHeaders, type TokenCall } from './tokens/refresh-cookie.js';

const DEVICE_CHARACTERS_MAX = 200;

@Controller()
@userV1.UserServiceControllerMethods()
export class UserController implements userV1.UserServiceController {
  constructor(
    private readonly accounts: Accounts,
    private readonly sessions: Sessions,
    private readonly guests: Guests,
    private readonly upgrades: Upgrades,
    private readonly cookie: RefreshCookie,
  ) {}

  async register(request: userV1.RegisterRequest): Promise<userV1.RegisterResponse> {
    const user = await this.accounts.register(currentCall(), request);
    return { user: user && toUser(user), verification_sent: user === undefined };
  }

  async login(request: userV1.LoginRequest, metadata?: Metadata, grpc?: TokenCall): Promise<userV1.TokenResponse> {
    const device = readText(request.device, 'device', DEVICE_CHARACTERS_MAX);
    if (request.cookie) this.cookie.checkOrigin(metadata);
    const call = currentCall();
    const user = await this.accounts.authenticate(call, request);
    const tokens = await this.sessions.open(call, user, device);
    if (request.cookie) return this.cookie.move(grpc, tokens);
    sendHeaders(grpc);
    return tokens;
  }

  async refresh(request: userV1.RefreshRequest, metadata?: Metadata, grpc?: TokenCall): Promise<userV1.TokenResponse> {
    const byCookie = request.refresh_token === '';
    const token = byCookie ? this.cookie.read(metadata) : request.refresh_token;
    const call = currentCall();
    const rotating = this.sessions.rotate(call, token, call.tenant);
    if (byCookie) {
      try {
        return this.cookie.move(grpc, await rotating);
      } catch (error) {
        // A browser would send the dead cookie again and again.
        if (error instanceof Problem && error.code === 'INVALID_GRANT') this.cookie.clear(grpc);
        throw error;
      }
    }
    const tokens = await rotating;
    sendHeaders(grpc);
    return tokens;
  }

  async logout(request: userV1.LogoutRequest, metadata?: Metadata, grpc?: TokenCall): Promise<userV1.LogoutResponse> {
    await this.sessions.end(currentCall(), currentCaller(), request.everywhere);
    if (metadata?.get('cookie').length) this.cookie.clear(grpc);
    return {};
  }

  async getMe(): Promise<userV1.User> {
    return toUser(await this.accounts.get(currentCall(), currentCaller()));
  }

  async listSessions(): Promise<userV1.ListSessionsResponse> {
    const caller = currentCaller();
    const rows = await this.sessions.list(currentCall(), caller);
    return {
      sessions: rows.map((row) => toSession(row, caller.session)),
    };
  }

  async revokeSession(request: userV1.RevokeSessionRequest): Promise<userV1.RevokeSessionResponse> {
    await this.sessions.revokeOwn(currentCall(), currentCaller(), request.session_id);
    return {};
  }

  async createGuest(
    request: userV1.CreateGuestRequest,
    _metadata?: Metadata,
    grpc?: TokenCall,
  ): Promise<userV1.TokenResponse> {
    const tokens = await this.guests.create(currentCall(), request);
    sendHeaders(grpc);
    return tokens;
  }

  getGuestLimits(request: userV1.GetGuestLimitsRequest): Promise<userV1.GuestAllowance> {
    return this.guests.allowance(currentCall(), request);
  }

  async upgradeGuest(
    request: userV1.UpgradeGuestRequest,
    _metadata?: Metadata,
    grpc?: TokenCall,
  ): Promise<userV1.TokenResponse> {
    const tokens = await this.upgrades.upgrade(currentCall(), currentCaller(), request);
    sendHeaders(grpc);
    return tokens;
  }
}

export function toUser(row: UserRow): userV1.User {
  return {
    id: row.id,
    email: row.email ?? '',
    display_name: row.display_name,
    tenant: row.tenant,
    roles: row.roles,
    create_time: toTimestamp(row.created_at),
    guest: row.guest,
    locked: row.locked_at !== null,
    email_verified: row.email_verified,
    password_expired: row.password_expired,
    delete_time: row.delete_at ? toTimestamp(row.delete_at) : undefined,
  };
}

/** @param own the session of the call */
export function toSession(row: SessionRow, own: string): userV1.Session {
  return {
    id: row.id,
    device: row.device,
    address: row.address,
    create_time: toTimestamp(row.created_at),
    refresh_time: toTimestamp(row.rotated_at),
    expire_time: toTimestamp(row.idle_until),
    current: row.id === own,
  };
}

export function toTimestamp(time: Date): { seconds: string; nanos: number } {
  const ms = time.getTime();
  return { seconds: String(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1e6 };
}
