import type { Metadata } from '@grpc/grpc-js';
import { Controller } from '@nestjs/common';
import { accountV1, type userV1 } from '@sluice/contract';
import { currentCall, currentCaller } from '@sluice/service';
import { from, type Observable } from 'rxjs';
import { invalid } from '../accounts/credentials.js';
import { UserChanges } from '../admin/user-changes.js';
import { Deletion } from '../privacy/deletion.js';
import { Exports } from '../privacy/export.js';
import { Outbox } from '../mail/outbox.js';
import { toSession, toTimestamp, toUser } from '../user.controller.js';
import { type InvitationRow, Invitations } from './invitations.js';
import { Members } from './members.js';
import { Tenants } from './tenants.js';

/** What administrators do with the accounts of their tenant, and operators with tenants. */
@Controller()
@accountV1.AccountAdminServiceControllerMethods()
export class AccountAdminController implements accountV1.AccountAdminServiceController {
  constructor(
    private readonly members: Members,
    private readonly invitations: Invitations,
    private readonly tenants: Tenants,
    private readonly changes: UserChanges,
    private readonly deletion: Deletion,
    private readonly exports: Exports,
    private readonly outbox: Outbox,
  ) {}

  async createUser(request: accountV1.CreateUserRequest): Promise<userV1.User> {
    return toUser(await this.members.create(currentCall(), request));
  }

  async setPassword(request: accountV1.SetPasswordRequest): Promise<userV1.User> {
    return toUser(await this.members.setPassword(currentCall(), request));
  }

  async expirePassword(request: accountV1.ExpirePasswordRequest): Promise<userV1.User> {
    return toUser(await this.members.expirePassword(currentCall(), request.user_id));
  }

  async withdrawPassword(request: accountV1.WithdrawPasswordRequest): Promise<userV1.User> {
    return toUser(await this.members.withdrawPassword(currentCall(), request.user_id));
  }

  async listUserSessions(request: accountV1.ListUserSessionsRequest): Promise<accountV1.ListUserSessionsResponse> {
    const rows = await this.members.sessionsOf(currentCall(), request.user_id);
    return { sessions: rows.map((row) => toSession(row, currentCaller().session)) };
  }

  async endUserSessions(request: accountV1.EndUserSessionsRequest): Promise<accountV1.EndUserSessionsResponse> {
    return { sessions_ended: await this.members.endSessions(currentCall(), request.user_id, request.session_id) };
  }

  async deleteUser(request: accountV1.DeleteUserRequest): Promise<userV1.User> {
    const { tenant, subject } = currentCaller();
    const { user_id: userId } = request;
    if (userId === subject) throw invalid('user_id', 'must not be your own');
    const row = await this.changes.change(currentCall(), {
      tenant,
      userId,
      action: 'account.delete',
      because: 'account-deleted',
      update: (manager) => this.deletion.mark(manager, tenant, userId),
    });
    this.outbox.wake();
    return toUser(row);
  }

  async restoreUser(request: accountV1.RestoreUserRequest): Promise<userV1.User> {
    const { tenant } = currentCaller();
    const { user_id: userId } = request;
    const update = this.deletion.unmark.bind(this.deletion);
    return toUser(
      await this.changes.change(currentCall(), {
        tenant,
        userId,
        action: 'account.restore',
        update: (manager) => update(manager, tenant, userId),
      }),
    );
  }

  async createInvitation(request: accountV1.CreateInvitationRequest): Promise<accountV1.Invitation> {
    return toInvitation(await this.invitations.create(currentCall(), request));
  }

  async listInvitations(): Promise<accountV1.ListInvitationsResponse> {
    return { invitations: (await this.invitations.list()).map(toInvitation) };
  }

  async revokeInvitation(request: accountV1.RevokeInvitationRequest): Promise<accountV1.RevokeInvitationResponse> {
    await this.invitations.revoke(currentCall(), request.invitation_id);
    return {};
  }

  updateTenant(request: accountV1.UpdateTenantRequest): Promise<userV1.Tenant> {
    return this.tenants.update(currentCall(), request);
  }

  exportTenant(request: accountV1.ExportTenantRequest, _metadata?: Metadata): Observable<accountV1.ExportRecord> {
    return from(this.exports.ofTenant(currentCall(), request.tenant_id));
  }

  async deleteTenant(request: accountV1.DeleteTenantRequest): Promise<accountV1.DeleteTenantResponse> {
    await this.tenants.delete(currentCall(), request.tenant_id);
    return {};
  }
}

function toInvitation({ created_at, expires_at, id, tenant, email, roles }: InvitationRow): accountV1.Invitation {
  return { id, tenant, email, roles, create_time: toTimestamp(created_at), expire_time: toTimestamp(expires_at) };
}
