import { Controller, Inject } from '@nestjs/common';
import { machinesV1 } from '@sluice/contract';
import { currentCall, currentCaller } from '@sluice/service';
import { DataSource } from 'typeorm';
import { invalid } from '../accounts/credentials.js';
import { pageSize } from '../admin/admin.controller.js';
import { OPERATOR_ROLE } from '../admin/user-changes.js';
import { UUID } from '../sessions/sessions.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import { toTimestamp } from '../user.controller.js';
import { type ApiKeyRow, apiKeyStore } from './api-key-store.js';
import { ApiKeys, type KeyManager, ownerOf, type ShownApiKey } from './api-keys.js';

const DIGEST_OCTETS = 32;
const { VerifyApiKeyResponse_State: State } = machinesV1;

/** API keys over REST, and what gateways ask about them. */
@Controller()
@machinesV1.ApiKeyServiceControllerMethods()
@machinesV1.ApiKeyVerificationServiceControllerMethods()
export class ApiKeyController
  implements machinesV1.ApiKeyServiceController, machinesV1.ApiKeyVerificationServiceController
{
  constructor(
    private readonly keys: ApiKeys,
    private readonly dataSource: DataSource,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  async createApiKey(request: machinesV1.CreateApiKeyRequest): Promise<machinesV1.CreateApiKeyResponse> {
    return toShown(await this.keys.create(currentCall(), manager(), request));
  }

  async listApiKeys(request: machinesV1.ListApiKeysRequest): Promise<machinesV1.ListApiKeysResponse> {
    const size = pageSize(request.page_size);
    const before = request.page_token === '' ? null : request.page_token;
    if (before !== null && !UUID.test(before)) throw invalid('page_token', 'must come from an earlier answer');
    const rows = await this.keys.list(currentCall(), manager(), request.owner_id, before, size + 1);
    const keys = rows.slice(0, size);
    return { keys: keys.map(toApiKey), next_page_token: rows.length > size ? (keys.at(-1)?.id ?? '') : '' };
  }

  async getApiKey({ key_id }: machinesV1.GetApiKeyRequest): Promise<machinesV1.ApiKey> {
    return toApiKey(await this.keys.get(currentCall(), manager(), key_id));
  }

  async renameApiKey({ key_id, name }: machinesV1.RenameApiKeyRequest): Promise<machinesV1.ApiKey> {
    return toApiKey(await this.keys.rename(currentCall(), manager(), key_id, name));
  }

  async rotateApiKey(request: machinesV1.RotateApiKeyRequest): Promise<machinesV1.CreateApiKeyResponse> {
    return toShown(await this.keys.rotate(currentCall(), manager(), request.key_id, request.overlap_seconds));
  }

  async revokeApiKey({ key_id }: machinesV1.RevokeApiKeyRequest): Promise<machinesV1.ApiKey> {
    return toApiKey(await this.keys.revoke(currentCall(), manager(), key_id));
  }

  async verifyApiKey({ digest }: machinesV1.VerifyApiKeyRequest): Promise<machinesV1.VerifyApiKeyResponse> {
    if (digest.length !== DIGEST_OCTETS) throw invalid('digest', `must have ${DIGEST_OCTETS} octets`);
    const row = await apiKeyStore.verify(this.dataSource, currentCall(), Buffer.from(digest));
    const state = !row
      ? State.STATE_UNSPECIFIED
      : row.revoked
        ? State.STATE_REVOKED
        : row.expired
          ? State.STATE_EXPIRED
          : row.owner_locked
            ? State.STATE_OWNER_LOCKED
            : row.tenant_closed
              ? State.STATE_TENANT_CLOSED
              : State.STATE_GOOD;
    return {
      state,
      key_id: row?.id ?? '',
      subject: row?.subject ?? '',
      tenant: row?.tenant ?? '',
      roles: row?.roles ?? [],
      scope: row?.scopes.join(' ') ?? '',
      restrictions: { methods: row?.methods ?? [], models: row?.models ?? [], networks: row?.networks ?? [] },
      account: row?.account ?? '',
      unverified: this.settings.EMAIL_VERIFICATION !== 'none' && row?.email_verified === false,
      expire_time_ms: String(Math.floor(row?.expires_ms ?? 0)),
    };
  }
}

function manager(): KeyManager {
  const { tenant, subject, roles, scope } = currentCaller();
  return { tenant, subject, scope, isAdmin: roles.includes('admin'), isOperator: roles.includes(OPERATOR_ROLE) };
}

function toShown({ key, secret }: ShownApiKey): machinesV1.CreateApiKeyResponse {
  return { key: toApiKey(key), secret };
}

function toApiKey(row: ApiKeyRow): machinesV1.ApiKey {
  const time = (at: Date | null) => (at === null ? undefined : toTimestamp(at));
  return {
    id: row.id,
    tenant: row.tenant,
    name: row.name,
    owner_id: ownerOf(row),
    owner_kind: row.user_id === null ? 'service_account' : 'user',
    environment: row.environment,
    account: row.account,
    roles: row.roles,
    scopes: row.scopes,
    restrictions: { methods: row.methods, models: row.models, networks: row.networks },
    create_time: toTimestamp(row.created_at),
    expire_time: time(row.expires_at),
    revoke_time: time(row.revoked_at),
    last_used_time: time(row.last_used_at),
    texts: row.texts.map((text) => ({
      prefix: text.prefix,
      last_four: text.last_four,
      create_time: toTimestamp(new Date(text.created_ms)),
      expire_time: text.expires_ms === null ? undefined : toTimestamp(new Date(text.expires_ms)),
    })),
  };
}
