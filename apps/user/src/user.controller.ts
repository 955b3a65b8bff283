import { Controller } from '@nestjs/common';
import { userV1 } from '@sluice/contract';
import { currentCall, currentCaller } from '@sluice/service';
import type { UserRow } from './accounts/account-store.js';
import { Accounts } from './accounts/accounts.js';
import { readText } from './accounts/credentials.js';
import { Sessions } from './sessions/sessions.js';

const DEVICE_CHARACTERS_MAX = 200;

@Controller()
@userV1.UserServiceControllerMethods()
export class UserController implements userV1.UserServiceController {
  constructor(
    private readonly accounts: Accounts,
    private readonly sessions: Sessions,
  ) {}

  async register(request: userV1.RegisterRequest): Promise<userV1.RegisterResponse> {
    return { user: toUser(await this.accounts.register(currentCall(), request)) };
  }

  async login(request: userV1.LoginRequest): Promise<userV1.TokenResponse> {
    const device = readText(request.device, 'device', DEVICE_CHARACTERS_MAX);
    const call = currentCall();
    const user = await this.accounts.authenticate(call, request);
    return this.sessions.open(call, user.id, device);
  }

  refresh(request: userV1.RefreshRequest): Promise<userV1.TokenResponse> {
    return this.sessions.rotate(currentCall(), request.refresh_token);
  }

  async logout(request: userV1.LogoutRequest): Promise<userV1.LogoutResponse> {
    await this.sessions.end(currentCall(), currentCaller(), request.everywhere);
    return {};
  }

  async getMe(): Promise<userV1.User> {
    return toUser(await this.accounts.get(currentCall(), currentCaller()));
  }
}

export function toUser(row: UserRow): userV1.User {
  const ms = row.created_at.getTime();
  return {
    id: row.id,
    email: row.email ?? '',
    display_name: row.display_name,
    tenant: row.tenant,
    roles: row.roles,
    create_time: { seconds: String(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1e6 },
    guest: row.guest,
  };
}
