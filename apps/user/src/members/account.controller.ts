import type { Metadata } from '@grpc/grpc-js';
import { Controller } from '@nestjs/common';
import { accountV1, type userV1 } from '@sluice/contract';
import { currentCall, currentCaller } from '@sluice/service';
import { from, type Observable } from 'rxjs';
import { EmailChange } from '../addresses/email-change.js';
import { Verification } from '../addresses/verification.js';
import { PasswordChange } from '../passwords/password-change.js';
import { Passwords } from '../passwords/passwords.js';
import { Deletion } from '../privacy/deletion.js';
import { Exports } from '../privacy/export.js';
import { toTimestamp, toUser } from '../user.controller.js';
import { Invitations } from './invitations.js';
import { Members } from './members.js';

/** What users do with their own account. */
@Controller()
@accountV1.AccountServiceControllerMethods()
export class AccountController implements accountV1.AccountServiceController {
  constructor(
    private readonly passwords: Passwords,
    private readonly change: PasswordChange,
    private readonly verification: Verification,
    private readonly emails: EmailChange,
    private readonly invitations: Invitations,
    private readonly members: Members,
    private readonly deletion: Deletion,
    private readonly exports: Exports,
  ) {}

  async changePassword(request: accountV1.ChangePasswordRequest): Promise<accountV1.ChangePasswordResponse> {
    return { sessions_ended: await this.passwords.changeOwn(currentCall(), currentCaller(), request) };
  }

  async requestPasswordReset(request: accountV1.RequestPasswordResetRequest) {
    await this.passwords.requestReset(currentCall(), request);
    return {};
  }

  async resetPassword(request: accountV1.ResetPasswordRequest): Promise<accountV1.ResetPasswordResponse> {
    await this.passwords.reset(currentCall(), request);
    return {};
  }

  async requestVerification(): Promise<accountV1.RequestVerificationResponse> {
    await this.verification.request(currentCall(), currentCaller());
    return {};
  }

  async verifyEmail(request: accountV1.VerifyEmailRequest): Promise<accountV1.VerifyEmailResponse> {
    await this.verification.verify(currentCall(), request.token, request.password);
    return {};
  }

  async changeEmail(request: accountV1.ChangeEmailRequest): Promise<accountV1.ChangeEmailResponse> {
    await this.emails.request(currentCall(), currentCaller(), request.email, request.password);
    return {};
  }

  async confirmEmailChange(request: accountV1.ConfirmEmailChangeRequest) {
    return { changed: await this.emails.confirm(currentCall(), request.token) };
  }

  async acceptInvitation(request: accountV1.AcceptInvitationRequest): Promise<accountV1.AcceptInvitationResponse> {
    return { user: toUser(await this.invitations.accept(currentCall(), request)) };
  }

  async updateMe(request: accountV1.UpdateMeRequest): Promise<userV1.User> {
    return toUser(await this.members.rename(currentCall(), request.display_name));
  }

  async deleteMe(request: accountV1.DeleteMeRequest): Promise<accountV1.DeleteMeResponse> {
    const call = currentCall();
    const { tenant, subject } = currentCaller();
    const user = await this.change.requirePassword(call, tenant, subject, request.password, 'password');
    return { delete_time: toTimestamp(await this.deletion.closeOwn(call, user)) };
  }

  async restoreAccount(request: accountV1.RestoreAccountRequest): Promise<accountV1.RestoreAccountResponse> {
    await this.deletion.restore(currentCall(), request.token);
    return {};
  }

  exportMe(_request: accountV1.ExportMeRequest, _metadata?: Metadata): Observable<accountV1.ExportRecord> {
    return from(this.exports.ofUser(currentCall(), currentCaller()));
  }
}
