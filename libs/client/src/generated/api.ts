// Generated from proto/ by scripts/api-types.mjs; not edited by hand.

/** A 64-bit integer as text. */
export type Int64 = string;

export declare namespace account {
  interface AcceptInvitationRequest {
    token?: string;
    password?: string;
    /** At most 200 characters. */
    display_name?: string;
  }
  interface AcceptInvitationResponse {
    user?: user.User;
  }
  interface ChangeEmailRequest {
    email?: string;
    password?: string;
  }
  interface ChangeEmailResponse {}
  interface ChangePasswordRequest {
    current_password?: string;
    /** 8 to 256 characters; not one that is guessed easily. */
    new_password?: string;
  }
  interface ChangePasswordResponse {
    /** How many other sessions have ended. */
    sessions_ended: number;
  }
  interface ConfirmEmailChangeRequest {
    token?: string;
  }
  interface ConfirmEmailChangeResponse {
    /** Whether both sides have confirmed and the address has changed. */
    changed: boolean;
  }
  interface CreateInvitationRequest {
    email?: string;
    roles?: string[];
    /** Another tenant than the caller's, for operators alone. */
    tenant?: string;
  }
  interface CreateUserRequest {
    email?: string;
    /** At most 200 characters. */
    display_name?: string;
    roles?: string[];
    /** To be replaced at the first login. Empty: a link to set one is mailed. */
    password?: string;
    /** Another tenant than the caller's, for operators alone. */
    tenant?: string;
  }
  interface DeleteMeRequest {
    password?: string;
  }
  interface DeleteMeResponse {
    /** When the account will be gone. */
    delete_time?: string;
  }
  interface DeleteTenantRequest {
    tenant_id?: string;
  }
  interface DeleteTenantResponse {}
  interface DeleteUserRequest {
    user_id?: string;
  }
  interface EndUserSessionsRequest {
    user_id?: string;
    /** Empty: every session. */
    session_id?: string;
  }
  interface EndUserSessionsResponse {
    sessions_ended: number;
  }
  interface ExpirePasswordRequest {
    user_id?: string;
  }
  interface ExportMeRequest {}
  /** One thing that is kept. */
  interface ExportRecord {
    /** Which service keeps it: `user`, `postcard`, `allocator`. */
    service: string;
    /** For example `account`, `session`, `audit_event`. The last record of a whole export is of kind `end`. */
    kind: string;
    /** A JSON object. */
    data?: unknown;
  }
  interface ExportTenantRequest {
    tenant_id?: string;
  }
  interface Invitation {
    id: string;
    tenant: string;
    email: string;
    roles: string[];
    create_time?: string;
    expire_time?: string;
  }
  interface ListInvitationsRequest {}
  interface ListInvitationsResponse {
    /** 200 at most. */
    invitations: account.Invitation[];
  }
  interface ListUserSessionsRequest {
    user_id?: string;
  }
  interface ListUserSessionsResponse {
    sessions: user.Session[];
  }
  interface RequestPasswordResetRequest {
    email?: string;
    /** Empty: the default tenant. */
    tenant?: string;
  }
  interface RequestPasswordResetResponse {}
  interface RequestVerificationRequest {}
  interface RequestVerificationResponse {}
  interface ResetPasswordRequest {
    token?: string;
    password?: string;
  }
  interface ResetPasswordResponse {}
  interface RestoreAccountRequest {
    token?: string;
  }
  interface RestoreAccountResponse {}
  interface RestoreUserRequest {
    user_id?: string;
  }
  interface RevokeInvitationRequest {
    invitation_id?: string;
  }
  interface RevokeInvitationResponse {}
  interface SetPasswordRequest {
    user_id?: string;
    password?: string;
    /** The user may keep it. */
    permanent?: boolean;
  }
  interface UpdateMeRequest {
    /** At most 200 characters. */
    display_name?: string;
  }
  interface UpdateTenantRequest {
    tenant_id?: string;
    name?: string;
    open_registration?: boolean;
  }
  interface VerifyEmailRequest {
    token?: string;
    password?: string;
  }
  interface VerifyEmailResponse {}
  interface WithdrawPasswordRequest {
    user_id?: string;
  }
}

export declare namespace allocator {
  interface Account {
    account_id: string;
    /** The names from below the root down; empty for the root. */
    path: string;
    tenant: string;
    /** The id of the account above; empty for the root. */
    parent: string;
    name: string;
    state: 'STATE_UNSPECIFIED' | 'OPEN' | 'CLOSED';
    create_time?: string;
    limits: allocator.Limit[];
  }
  interface AddNodeRequest {
    /** 1 to 63 characters: letters, digits, `.`, `_` and `-`. */
    node_id?: string;
    /** At least 1. */
    capacity?: Int64 | number;
    /** Like a node's name; empty: `default`. */
    pool?: string;
    /** A refill window: at most so many tokens in so many seconds (1 to 86400), beginning at multiples of them since the epoch; 0: none. */
    window_limit?: Int64 | number;
    window_seconds?: number;
  }
  interface AllocateRequest {
    /** 1 to 200 characters, unique within a tenant. */
    request_id?: string;
    /** At least 1. */
    token_count?: Int64 | number;
    /**
     * The lease: seconds after which the budget returns by itself, at most ALLOC_LEASE_MAX_SECONDS (a day, if not set otherwise).
     * 0: ALLOC_LEASE_DEFAULT_SECONDS (an hour, if not set otherwise).
     */
    ttl_seconds?: Int64 | number;
    /** The account that is charged, at or below the caller's own: its id or its path. Empty: the caller's own. */
    account?: string;
    /** The nodes to choose from; empty: `default`. */
    pool?: string;
    /** What it may cost, in millionths of a dollar. */
    cost_micros?: Int64 | number;
    /** At most eight, kept with the allocation: names and values of 1 to 100 characters. */
    labels?: Record<string, string>;
  }
  interface Allocation {
    request_id: string;
    node_id: string;
    token_count: Int64;
    state: 'STATE_UNSPECIFIED' | 'ALLOCATED' | 'SETTLED' | 'FREED' | 'EXPIRED';
    /** The strategy that chose the node: `best` or `largest`. */
    strategy: string;
    /** Absent without a lease. */
    expires_at?: string;
    /** Tokens that were settled as used. */
    settled: Int64;
    create_time?: string;
    /** Whose it is; in lists alone. */
    tenant?: string;
    subject?: string;
    /** Why an operator freed it; in lists and when one is asked for. */
    force_free_reason?: string;
    /** The id of the account that is charged; empty: none. */
    account: string;
    /** In millionths of a dollar. */
    cost_micros: Int64;
    settled_cost_micros: Int64;
    /** Limits that this call has taken over their soft mark. */
    warnings: allocator.LimitWarning[];
  }
  interface BatchAllocateRequest {
    /** 1 to 1000. */
    requests?: allocator.AllocateRequest[];
  }
  interface BatchAllocateResponse {
    /** One for each request, in their order. */
    results: allocator.BatchAllocateResponseResult[];
  }
  /** Why one of the requests was refused, as the call alone would have been. */
  interface BatchAllocateResponseRefusal {
    /** One of the problem codes, for example `BUDGET_EXHAUSTED`. */
    code: string;
    detail: string;
    /** For BUDGET_EXHAUSTED: the largest count that one node could have given. */
    largest_remaining?: Int64;
    /** When trying again can help; absent when nothing is known to change. */
    retry_after_ms?: Int64;
    /** The limit of an account that refused, where one did. */
    account?: string;
    limit_id?: string;
    remaining?: Int64;
  }
  interface BatchAllocateResponseResult {
    request_id: string;
    allocation?: allocator.Allocation;
    refusal?: allocator.BatchAllocateResponseRefusal;
  }
  interface Budget {
    /** The account that the caller's allocations are charged to; empty: the tenant has no accounts, and nothing is limited. */
    account_id: string;
    path: string;
    /** From the root down. */
    limits: allocator.Limit[];
  }
  interface CloseAccountRequest {
    account?: string;
    tenant?: string;
  }
  interface CreateAccountRequest {
    /** 1 to 100 characters without `/`, not beginning with `acc_`. */
    name?: string;
    /** Empty: the root. At most five levels are below the root. */
    parent?: string;
    /** The caller's, if it is empty. */
    tenant?: string;
  }
  interface DeleteAccountRequest {
    account?: string;
    tenant?: string;
  }
  interface DeleteLimitRequest {
    limit_id?: string;
  }
  interface DrainNodeRequest {
    node_id?: string;
  }
  interface ExtendRequest {
    request_id?: string;
    /** 1 second to ALLOC_LEASE_MAX_SECONDS. */
    ttl_seconds?: Int64 | number;
  }
  interface ForceFreeRequest {
    request_id?: string;
    /** The caller's, if it is empty. Another one may be named by administrators of the default tenant alone. */
    tenant?: string;
    /** 1 to 500 characters. */
    reason?: string;
  }
  interface FreeRequest {
    request_id?: string;
  }
  interface GetAccountRequest {
    account?: string;
    tenant?: string;
  }
  interface GetAllocationRequest {
    request_id?: string;
  }
  interface GetBudgetRequest {
    /** An account at or below the caller's own; empty: the caller's own. */
    account?: string;
  }
  interface GetStrategyRequest {}
  interface GetUsageRequest {}
  interface Limit {
    limit_id: string;
    /** The path of its account. */
    account: string;
    account_id: string;
    /** `tokens`, `micro_usd` (millionths of a dollar) or `requests`. */
    unit: string;
    amount: Int64;
    /** `total`, `minute`, `hour`, `day`, `week` or `month`. Minutes and hours are those of UTC. */
    period: string;
    /** Of days, weeks and months: a name of the IANA database. */
    zone: string;
    /** Tells when so much of it is used; 0: never. */
    soft_percent: number;
    /** `hard`: refuses beyond the amount; `soft`: lets pass, and tells. */
    mode: string;
    /** What there is more until a time. */
    extra: Int64;
    extra_until?: string;
    /** Of the running period. */
    used: Int64;
    /** The amount, what was topped up, and what there is more now. */
    ceiling: Int64;
    /** Never below zero. */
    remaining: Int64;
    /** When the period ends; absent for `total`. */
    resets_at?: string;
  }
  /** A limit of which little is left, or nothing. */
  interface LimitWarning {
    /** The path of its account. */
    account: string;
    limit_id: string;
    unit: string;
    period: string;
    used: Int64;
    ceiling: Int64;
    resets_at?: string;
  }
  interface ListAccountsRequest {
    tenant?: string;
    /** 1 to 1000; 0: 100. */
    page_size?: number;
    page_token?: string;
  }
  interface ListAccountsResponse {
    accounts: allocator.Account[];
    next_page_token: string;
  }
  interface ListAllocationsRequest {
    /** Whose: oneself, if it is empty. `-` is everyone, and others may be named, by those with the role `service` or `admin`. */
    subject?: string;
    /** The caller's, if it is empty. Another one, or `-` for all, may be named by administrators of the default tenant alone. */
    tenant?: string;
    /** Only those in this state. */
    state?: 'STATE_UNSPECIFIED' | 'ALLOCATED' | 'SETTLED' | 'FREED' | 'EXPIRED';
    /** Only those on this node. */
    node_id?: string;
    /** 1 to 1000; 0: 100. */
    page_size?: number;
    /** `next_page_token` of the page before, with the same filters. */
    page_token?: string;
  }
  interface ListAllocationsResponse {
    allocations: allocator.Allocation[];
    /** Empty on the last page. */
    next_page_token: string;
  }
  interface ListNodesRequest {}
  interface ListNodesResponse {
    nodes: allocator.Node[];
  }
  interface Node {
    node_id: string;
    capacity: Int64;
    used: Int64;
    /** Never below zero, also after the node was shrunk under what is used. */
    remaining: Int64;
    state: 'STATE_UNSPECIFIED' | 'ACTIVE' | 'DRAINING';
    pool: string;
    /** The refill window: so many tokens in so many seconds; 0: none. */
    window_limit: Int64;
    window_seconds: number;
    window_remaining: Int64;
    /** It takes no allocations before this time. */
    rest_until?: string;
    rest_reason: string;
  }
  interface OverrideLimitRequest {
    limit_id?: string;
    /** 0 to 10^15. */
    extra?: Int64 | number;
    until?: string;
    /** 1 to 500 characters. */
    reason?: string;
  }
  interface RemoveNodeRequest {
    node_id?: string;
  }
  interface RenameNodeRequest {
    node_id?: string;
    /** 1 to 63 characters: letters, digits, `.`, `_` and `-`. */
    new_node_id?: string;
  }
  interface ReopenAccountRequest {
    account?: string;
    tenant?: string;
  }
  interface ResizeNodeRequest {
    node_id?: string;
    /** At least 1. */
    capacity?: Int64 | number;
  }
  interface RestNodeRequest {
    node_id?: string;
    /** 1 to 86400; 0: it comes back now. */
    seconds?: Int64 | number;
    /** 1 to 500 characters; empty only to come back. */
    reason?: string;
  }
  interface SetLimitRequest {
    account?: string;
    tenant?: string;
    unit?: string;
    /** 0 to 10^15. */
    amount?: Int64 | number;
    period?: string;
    /** Empty: UTC. */
    zone?: string;
    /** 0 to 100; absent: 80. */
    soft_percent?: number;
    /** Empty: `hard`. */
    mode?: string;
  }
  interface SetNodeWindowRequest {
    node_id?: string;
    /** 0 takes the window away. */
    window_limit?: Int64 | number;
    window_seconds?: number;
  }
  interface SetStrategyRequest {
    strategy?: string;
  }
  interface SettleRequest {
    request_id?: string;
    /** The tokens that were used, at least 1. To return everything, free it. */
    token_count?: Int64 | number;
    /** What it cost, in millionths of a dollar. Absent: as much of what was reserved as of the tokens, rounded up. */
    cost_micros?: Int64 | number;
  }
  interface StrategySetting {
    /** `best` (the least remaining that suffices) or `largest` (the most remaining). */
    strategy: string;
    /** Requests of more tokens than this go by `largest` whatever the setting says. */
    large_request_tokens: Int64;
  }
  interface TopUpLimitRequest {
    limit_id?: string;
    /** 1 to 10^15. */
    amount?: Int64 | number;
    /** 1 to 500 characters. */
    reason?: string;
  }
  interface UndrainNodeRequest {
    node_id?: string;
  }
  interface UpdateAccountRequest {
    account?: string;
    tenant?: string;
    /** Absent: as it is. */
    name?: string;
    /** The account above; empty: the root; absent: as it is. */
    parent?: string;
  }
  interface Usage {
    nodes: allocator.Node[];
    capacity: Int64;
    used: Int64;
    remaining: Int64;
    strategy: string;
  }
  interface WatchUsageRequest {}
}

export declare namespace gateway {
  interface GetHealthRequest {}
  interface GetMyLimitsRequest {}
  interface Health {
    /** `ok` or `degraded`. */
    status: string;
    /** By name: `SERVING`, `NOT_SERVING` or `UNREACHABLE`. */
    dependencies: Record<string, string>;
  }
  /** One bucket of a policy. */
  interface LimitState {
    policy: string;
    /** What the bucket belongs to: `user`, `ip`, `endpoint`, `tenant`, `global`; several make one bucket together. */
    dimensions: string[];
    /** The method that the bucket is for, when `endpoint` is one of the dimensions. */
    rpc: string;
    /** Units in a window. */
    limit: Int64;
    window_seconds: number;
    remaining: Int64;
    /** 0: the next call of cost 1 is admitted. */
    retry_after_ms: Int64;
    /** Milliseconds until everything has come back. */
    reset_ms: Int64;
    /** Counted but not enforced. */
    shadow: boolean;
  }
  interface MyLimits {
    limits: gateway.LimitState[];
  }
}

export declare namespace machines {
  interface AddPublicKeyRequest {
    account_id?: string;
    /** 1 to 100 of A–Z, a–z, 0–9, `.`, `_` and `-`: the `kid` of the assertions' header. */
    kid?: string;
    /** ES256, ES384, EdDSA, RS256 or PS256. */
    alg?: string;
    /** The members of the JSON Web Key (RFC 7518 section 6): `x` and `y` of EC, `x` of OKP, `n` and `e` of RSA. */
    x?: string;
    y?: string;
    n?: string;
    e?: string;
  }
  interface AddSecretRequest {
    account_id?: string;
    /** 60 to 157680000, five years; 0: it does not expire. */
    expires_in_seconds?: number;
  }
  interface AddSecretResponse {
    service_account?: machines.ServiceAccount;
    /** Shown once, and kept as a hash. */
    client_secret: string;
  }
  interface ApiKey {
    /** A UUID: `x-sluice-key` to services, and the dimension `key` of limits. Rotating leaves it. */
    id: string;
    tenant: string;
    name: string;
    /** The user or service account that it acts for. */
    owner_id: string;
    /** `user` or `service_account`. */
    owner_kind: string;
    /** `live` or `test`. */
    environment: string;
    /** Those of the owner that it has, as long as the owner has them. */
    roles: string[];
    scopes: string[];
    restrictions?: machines.ApiKeyRestrictions;
    create_time?: string;
    /** Absent: it does not expire. */
    expire_time?: string;
    revoke_time?: string;
    /** To some minutes. */
    last_used_time?: string;
    /** The texts that work: one, and the former one during the overlap of a rotation. */
    texts: machines.ApiKeyText[];
    /** The budget account that its calls are charged to; empty: the tenant's root. */
    account: string;
  }
  /** What a key may be used for. An empty list leaves that open. */
  interface ApiKeyRestrictions {
    /** Selectors of gRPC methods: `package.Service.Method`, `package.Service.*`, `package.*`. The gateway refuses others. At most 50. */
    methods: string[];
    /** Names of models; services learn them as `x-sluice-models`. At most 50. */
    models: string[];
    /** Addresses and CIDR blocks that it may come from. At most 50. */
    networks: string[];
  }
  interface ApiKeyText {
    /** `slc_live_` or `slc_test_`, and the first four characters. */
    prefix: string;
    last_four: string;
    create_time?: string;
    /** Of the former text: the end of the overlap. */
    expire_time?: string;
  }
  interface ClientKey {
    kid: string;
    /** ES256, ES384, EdDSA, RS256 or PS256. */
    alg: string;
    create_time?: string;
  }
  interface ClientSecret {
    id: string;
    /** The last four characters. */
    last_four: string;
    create_time?: string;
    /** Absent: it does not expire. */
    expire_time?: string;
  }
  interface CreateApiKeyRequest {
    /** 1 to 100 characters. */
    name?: string;
    /** A service account of the tenant, for administrators; empty: the caller. */
    owner_id?: string;
    /** `live`, which empty means too, or `test`. */
    environment?: string;
    /** Of those that the owner has; empty: none, so that a key is a plain caller unless it needs more. */
    roles?: string[];
    /** Of a service account's key those of the account at most. */
    scopes?: string[];
    restrictions?: machines.ApiKeyRestrictions;
    /** 60 to 157680000, five years; 0: it does not expire. */
    expires_in_seconds?: number;
    /** The budget account that its calls are charged to, for administrators: 1 to 255 characters of ASCII without spaces; empty: the tenant's root. */
    account?: string;
  }
  interface CreateApiKeyResponse {
    key?: machines.ApiKey;
    /** The text of the key. Shown once, and kept as a hash. */
    secret: string;
  }
  interface CreateServiceAccountRequest {
    /** 1 to 100 characters; unique in the tenant. */
    name?: string;
    /** Names as of users' roles. Only an operator gives `operator`. */
    roles?: string[];
    /** At most 50, each up to 100 characters without spaces, quotes and backslashes. */
    scopes?: string[];
    /** At most 10. Empty: the audience of the gateway, TOKEN_AUDIENCE. */
    audiences?: string[];
  }
  interface DeleteServiceAccountRequest {
    account_id?: string;
  }
  interface DeleteServiceAccountResponse {}
  interface GetApiKeyRequest {
    key_id?: string;
  }
  interface GetServiceAccountRequest {
    account_id?: string;
  }
  interface ListApiKeysRequest {
    /** 1 to 200; 0: 50. */
    page_size?: number;
    page_token?: string;
    /** Of this user or service account, for administrators; `-`: of the whole tenant; empty: the caller's own. */
    owner_id?: string;
  }
  interface ListApiKeysResponse {
    keys: machines.ApiKey[];
    /** Empty on the last page. */
    next_page_token: string;
  }
  interface ListServiceAccountsRequest {
    /** 1 to 200; 0: 50. */
    page_size?: number;
    page_token?: string;
  }
  interface ListServiceAccountsResponse {
    service_accounts: machines.ServiceAccount[];
    /** Empty on the last page. */
    next_page_token: string;
  }
  interface LockServiceAccountRequest {
    account_id?: string;
  }
  interface RemovePublicKeyRequest {
    account_id?: string;
    kid?: string;
  }
  interface RemoveSecretRequest {
    account_id?: string;
    secret_id?: string;
  }
  interface RenameApiKeyRequest {
    key_id?: string;
    /** 1 to 100 characters. */
    name?: string;
  }
  interface RevokeApiKeyRequest {
    key_id?: string;
  }
  interface RotateApiKeyRequest {
    key_id?: string;
    /** How long the former text works on: 0 to 604800, a week; absent: a day. */
    overlap_seconds?: number;
  }
  interface ServiceAccount {
    /** A UUID: its `client_id`, and the `sub` of its tokens. */
    id: string;
    tenant: string;
    name: string;
    roles: string[];
    /** What its tokens and keys can be asked to carry (RFC 6749 section 3.3). */
    scopes: string[];
    /** `aud` that its tokens can be asked for (RFC 8707). The first is the usual one. */
    audiences: string[];
    locked: boolean;
    create_time?: string;
    /** When it last got a token; to the minute. */
    last_used_time?: string;
    secrets: machines.ClientSecret[];
    public_keys: machines.ClientKey[];
  }
  interface SetGrantsRequest {
    account_id?: string;
    roles?: string[];
    scopes?: string[];
    /** Empty: TOKEN_AUDIENCE. */
    audiences?: string[];
  }
  interface UnlockServiceAccountRequest {
    account_id?: string;
  }
}

export declare namespace postcard {
  interface CreateSessionRequest {
    /** At most 200 characters. */
    title?: string;
  }
  interface DeleteSessionRequest {
    session_id?: string;
  }
  interface DeleteSessionResponse {}
  interface GetSessionRequest {
    session_id?: string;
  }
  interface ListMessagesRequest {
    session_id?: string;
    /** At most this many, up to 200. 0: 50. */
    page_size?: number;
    /** `next_page_token` of the page before. */
    page_token?: string;
  }
  interface ListMessagesResponse {
    messages: postcard.Message[];
    /** Empty at the end. */
    next_page_token: string;
  }
  interface Message {
    id: string;
    role: 'ROLE_UNSPECIFIED' | 'USER' | 'ASSISTANT';
    text: string;
    create_time?: string;
  }
  interface Receipt {
    /** The id of the reply in the history. */
    message_id: string;
    /** What was reserved before the reply, and what was settled after. */
    tokens_reserved: Int64;
    tokens_used: Int64;
  }
  /** A part of a reply: a piece of its text or, at the end, what came of it. */
  interface ReplyPart {
    /** The next piece of the text. */
    text?: string;
    /** The last part: the reply as it was saved, and what it cost. */
    receipt?: postcard.Receipt;
  }
  interface SendMessageRequest {
    session_id?: string;
    /** 1 to 8000 characters. */
    text?: string;
  }
  interface Session {
    /** A UUID. */
    id: string;
    title: string;
    create_time?: string;
    /** When a message was last sent. */
    last_used_time?: string;
    /** When the session ends if no message is sent. */
    expire_time?: string;
  }
}

export declare namespace user {
  interface AuditEvent {
    id: string;
    time?: string;
    /** For example `login` or `session.revoke`. */
    action: string;
    /** `success`, or why not. */
    outcome: string;
    /** Who did it: a user id; `command-line` for a command; empty when nobody was signed in. */
    actor: string;
    /** Whom it is about: a user id; empty when there is no such user. */
    subject: string;
    session_id: string;
    address: string;
    trace_id: string;
  }
  interface CreateGuestRequest {
    /** What the client calls this device: at most 200 characters. Keep it like a password: whoever knows it, at the same address, gets the device's token. */
    device_id?: string;
    /**
     * Why a token is needed, for the report: 1 to 64 of a–z, 0–9, `_`, `-` and `.`. `quota_used_up` asks for a new token, as a new guest,
     * although the device has one that is alive: its budget is spent. Names of your own are welcome.
     */
    cause?: string;
    /** Empty: the default tenant. */
    tenant?: string;
    /**
     * With the cause `quota_used_up`: the session whose budget is spent. When the device has another one by now, that is returned, so that
     * those who ask at once get one token. Empty: the session that the device has.
     */
    spent_session_id?: string;
  }
  interface CreateTenantRequest {
    id?: string;
    name?: string;
    open_registration?: boolean;
  }
  interface GetGuestLimitsRequest {
    /** As in CreateGuestRequest; empty: what is known of the address. */
    device_id?: string;
    /** Empty: the default tenant. */
    tenant?: string;
  }
  interface GetMeRequest {}
  interface GetUserRequest {
    user_id?: string;
  }
  /** What a device may ask for now, from the address that it asks from. */
  interface GuestAllowance {
    /** A new token would be issued now. */
    allowed: boolean;
    /** The device has a token that is alive: asking from here returns it, whatever the limits say. */
    live_token: boolean;
    /** What would refuse a new token for longest, as `details` of the 429 would say; empty when none would. */
    policy: string;
    blocked_by: string;
    /** How long to wait for a new token; 0: it may be asked for now. */
    retry_after_ms: number;
    limits: user.GuestAllowanceLimit[];
    /** Refusals of the device since its last token. */
    refusals: number;
    terms?: user.GuestTerms;
  }
  interface GuestAllowanceLimit {
    /** As `details.policy` of a 429 says it, for example `guest-hour`. */
    policy: string;
    /** `user`: counts the device's tokens; `ip`: those of its address. */
    blocked_by: string;
    /** New tokens within any `window_seconds`. */
    limit: number;
    window_seconds: number;
    remaining: number;
    /** Until this limit allows another one; 0: now. */
    retry_after_ms: number;
  }
  /** How often any device may ask for a new guest token. */
  interface GuestTerms {
    /** Time between two tokens; 0: none. */
    spacing_seconds: number;
    hourly: number;
    daily: number;
    /** Whether a device that asks too early waits longer with each refusal. */
    backoff: boolean;
    /** The first wait, and what each further refusal multiplies it by, up to an hour. */
    backoff_seconds: number;
    backoff_multiplier: number;
  }
  interface ListAuditEventsRequest {
    /** 1 to 200; 0: 50. */
    page_size?: number;
    page_token?: string;
    /** Only events about this user. */
    user_id?: string;
  }
  interface ListAuditEventsResponse {
    events: user.AuditEvent[];
    next_page_token: string;
  }
  interface ListSessionsRequest {}
  interface ListSessionsResponse {
    sessions: user.Session[];
  }
  interface ListTenantsRequest {}
  interface ListTenantsResponse {
    tenants: user.Tenant[];
  }
  interface ListUsersRequest {
    /** 1 to 200; 0: 50. */
    page_size?: number;
    page_token?: string;
    /** Only addresses that begin like this, without regard to case. */
    email_prefix?: string;
  }
  interface ListUsersResponse {
    users: user.User[];
    /** Empty on the last page. */
    next_page_token: string;
  }
  interface LockUserRequest {
    user_id?: string;
  }
  interface LoginRequest {
    email?: string;
    password?: string;
    /** What the session is called in the list of sessions, at most 200 characters. */
    device?: string;
    /** Empty: the default tenant. */
    tenant?: string;
    /** Sends the refresh token as a cookie (HttpOnly, Secure, SameSite=Strict) instead of in the answer. */
    cookie?: boolean;
  }
  interface LogoutRequest {
    /** Ends every session of the caller instead of this one. */
    everywhere?: boolean;
  }
  interface LogoutResponse {}
  interface RefreshRequest {
    /** Empty: the refresh token comes as the cookie, from an origin that is allowed to. */
    refresh_token?: string;
  }
  interface RegisterRequest {
    /** An e-mail address of at most 254 characters; unique within a tenant without regard to case, and addresses that look alike are one. */
    email?: string;
    /** 8 to 256 characters, compared in Unicode NFC and never cut; not one that is guessed easily. */
    password?: string;
    /** At most 200 characters. */
    display_name?: string;
    /** The tenant that the account belongs to; empty: the default tenant. */
    tenant?: string;
  }
  interface RegisterResponse {
    /** Absent where addresses are verified: the answer does not tell whether the address had an account before; the mail does. */
    user?: user.User;
    /** A mail was sent to the address: its link begins, or says that, there is an account. */
    verification_sent: boolean;
  }
  interface RevokeSessionRequest {
    session_id?: string;
  }
  interface RevokeSessionResponse {}
  interface Session {
    id: string;
    device: string;
    /** Where its login came from. */
    address: string;
    create_time?: string;
    /** The latest refresh, or the login. */
    refresh_time?: string;
    expire_time?: string;
    /** The session of this call. */
    current: boolean;
  }
  interface SetRolesRequest {
    user_id?: string;
    /** `admin`, `service`, `operator`, or names of your own: 1 to 64 of a–z, 0–9, `_`, `-` and `.`. Only an operator gives or takes `operator`, or changes who has it. */
    roles?: string[];
    /** Another tenant than the caller's, to appoint its first administrator. For operators alone. */
    tenant?: string;
  }
  interface Tenant {
    /** 1 to 63 of a–z, 0–9 and `-`. */
    id: string;
    name: string;
    /** Whether anyone may register an account or become a guest. */
    open_registration: boolean;
  }
  /** The names are those of RFC 6749 section 5.1. */
  interface TokenResponse {
    access_token: string;
    /** Absent with the grant `client_credentials` (RFC 6749 section 4.4.3). */
    refresh_token?: string;
    /** Always `Bearer`. */
    token_type: string;
    /** Seconds until the access token expires. */
    expires_in: number;
    /** Absent with the grant `client_credentials`. */
    session_id?: string;
    /** The token is a guest's. */
    guest: boolean;
    /** How often a device may ask for another one; absent when the token is not a guest's. */
    guest_terms?: user.GuestTerms;
    /** What was granted, with the grant `client_credentials` (RFC 6749 section 3.3). */
    scope?: string;
  }
  interface UnlockUserRequest {
    user_id?: string;
  }
  interface UpgradeGuestRequest {
    email?: string;
    password?: string;
    display_name?: string;
    device?: string;
  }
  interface User {
    /** A UUID; the `sub` of the user's tokens. */
    id: string;
    email: string;
    display_name: string;
    tenant: string;
    roles: string[];
    create_time?: string;
    guest: boolean;
    locked: boolean;
    email_verified: boolean;
    /** The next login must choose another password. */
    password_expired: boolean;
    /** When the account will be deleted; absent for one that stays. */
    delete_time?: string;
  }
}

/** Calls with one answer, by method and path under `/api/v1`. */
export interface UnaryRoutes {
  /** Takes an account away that has nothing below it and holds no reservation. Its limits go with it; what was used of them stays in the ledger. */
  'DELETE /accounts/{account}': { request: allocator.DeleteAccountRequest; response: allocator.Account };
  'DELETE /admin/invitations/{invitation_id}': {
    request: account.RevokeInvitationRequest;
    response: account.RevokeInvitationResponse;
  };
  /** Ends its tokens and deletes its secrets and keys. */
  'DELETE /admin/service-accounts/{account_id}': {
    request: machines.DeleteServiceAccountRequest;
    response: machines.DeleteServiceAccountResponse;
  };
  'DELETE /admin/service-accounts/{account_id}/public-keys/{kid}': {
    request: machines.RemovePublicKeyRequest;
    response: machines.ServiceAccount;
  };
  /** Tokens that were issued for it live on until they expire; lock the account to end them. */
  'DELETE /admin/service-accounts/{account_id}/secrets/{secret_id}': {
    request: machines.RemoveSecretRequest;
    response: machines.ServiceAccount;
  };
  /** Ends every session of a tenant and deletes it with its accounts. Only after an export that came to its end within the last day. */
  'DELETE /admin/tenants/{tenant_id}': { request: account.DeleteTenantRequest; response: account.DeleteTenantResponse };
  /** Deletes an account when its grace is over, as its user could. */
  'DELETE /admin/users/{user_id}': { request: account.DeleteUserRequest; response: user.User };
  /** Ends one session of a user, or every one; the account stays open. */
  'DELETE /admin/users/{user_id}/sessions': {
    request: account.EndUserSessionsRequest;
    response: account.EndUserSessionsResponse;
  };
  /** Ends one session of a user, or every one; the account stays open. */
  'DELETE /admin/users/{user_id}/sessions/{session_id}': {
    request: account.EndUserSessionsRequest;
    response: account.EndUserSessionsResponse;
  };
  /** Every gateway refuses it within a second. Revoking a revoked key succeeds. */
  'DELETE /keys/{key_id}': { request: machines.RevokeApiKeyRequest; response: machines.ApiKey };
  'DELETE /limits/{limit_id}': { request: allocator.DeleteLimitRequest; response: allocator.Limit };
  /** Ends one of the caller's sessions. Ending an ended session succeeds. */
  'DELETE /me/sessions/{session_id}': { request: user.RevokeSessionRequest; response: user.RevokeSessionResponse };
  /**
   * Takes a node away for good: an empty one. One that holds tokens is 400: drain it, and remove it when everything has returned.
   * While NODES names it, the next start adds it again.
   */
  'DELETE /nodes/{node_id}': { request: allocator.RemoveNodeRequest; response: allocator.Node };
  /** Deletes a session with its messages. */
  'DELETE /sessions/{session_id}': { request: postcard.DeleteSessionRequest; response: postcard.DeleteSessionResponse };
  /** Accounts of a tenant in the order of their paths, each with its limits. */
  'GET /accounts': { request: allocator.ListAccountsRequest; response: allocator.ListAccountsResponse };
  'GET /accounts/{account}': { request: allocator.GetAccountRequest; response: allocator.Account };
  /** Security events of the tenant, the latest first. */
  'GET /admin/audit': { request: user.ListAuditEventsRequest; response: user.ListAuditEventsResponse };
  /** Invitations that nobody has accepted yet, the latest first. */
  'GET /admin/invitations': { request: account.ListInvitationsRequest; response: account.ListInvitationsResponse };
  /** In the order of their ids. */
  'GET /admin/service-accounts': {
    request: machines.ListServiceAccountsRequest;
    response: machines.ListServiceAccountsResponse;
  };
  'GET /admin/service-accounts/{account_id}': {
    request: machines.GetServiceAccountRequest;
    response: machines.ServiceAccount;
  };
  'GET /admin/tenants': { request: user.ListTenantsRequest; response: user.ListTenantsResponse };
  /** In the order of their ids. */
  'GET /admin/users': { request: user.ListUsersRequest; response: user.ListUsersResponse };
  'GET /admin/users/{user_id}': { request: user.GetUserRequest; response: user.User };
  /** The sessions of a user that are alive, the latest login first. */
  'GET /admin/users/{user_id}/sessions': {
    request: account.ListUserSessionsRequest;
    response: account.ListUserSessionsResponse;
  };
  /** Allocations, newest first: the caller's own, or others' for those who may see them. */
  'GET /allocations': { request: allocator.ListAllocationsRequest; response: allocator.ListAllocationsResponse };
  /** One allocation of the caller. */
  'GET /allocations/{request_id}': { request: allocator.GetAllocationRequest; response: allocator.Allocation };
  /**
   * What a device may ask for now, without asking for it: nothing is issued, and it counts against no limit of guest tokens. With POST the
   * device's name is in no address that is logged on the way.
   */
  'GET /auth/guest/limits': { request: user.GetGuestLimitsRequest; response: user.GuestAllowance };
  /** The limits on the caller's own path, from the root down: what is left of each, and when it returns. */
  'GET /budget': { request: allocator.GetBudgetRequest; response: allocator.Budget };
  /** The state of the gateway and of each thing that it depends on. 200 when all serve, 503 otherwise. */
  'GET /health': { request: gateway.GetHealthRequest; response: gateway.Health };
  /** The latest first. */
  'GET /keys': { request: machines.ListApiKeysRequest; response: machines.ListApiKeysResponse };
  'GET /keys/{key_id}': { request: machines.GetApiKeyRequest; response: machines.ApiKey };
  /** The caller's own account. */
  'GET /me': { request: user.GetMeRequest; response: user.User };
  /** What is left to the caller under each limit, without spending any of it. */
  'GET /me/limits': { request: gateway.GetMyLimitsRequest; response: gateway.MyLimits };
  /** The caller's sessions that are alive, the latest login first. */
  'GET /me/sessions': { request: user.ListSessionsRequest; response: user.ListSessionsResponse };
  /** Usage per node and in all. */
  'GET /metrics': { request: allocator.GetUsageRequest; response: allocator.Usage };
  'GET /nodes': { request: allocator.ListNodesRequest; response: allocator.ListNodesResponse };
  /** One session of the caller. Those of others do not exist for the caller: 404. */
  'GET /sessions/{session_id}': { request: postcard.GetSessionRequest; response: postcard.Session };
  /** The messages of a session, oldest first. */
  'GET /sessions/{session_id}/messages': {
    request: postcard.ListMessagesRequest;
    response: postcard.ListMessagesResponse;
  };
  'GET /strategy': { request: allocator.GetStrategyRequest; response: allocator.StrategySetting };
  /**
   * Gives an account another name, or another parent, with everything below it. What was charged stays where it was charged; from then on
   * the new path is.
   */
  'PATCH /accounts/{account}': { request: allocator.UpdateAccountRequest; response: allocator.Account };
  /** Changes the name of a tenant, or whether it is open: whether anyone may register. What is left out stays. */
  'PATCH /admin/tenants/{tenant_id}': { request: account.UpdateTenantRequest; response: user.Tenant };
  'PATCH /keys/{key_id}': { request: machines.RenameApiKeyRequest; response: machines.ApiKey };
  /** Changes what the caller is called. */
  'PATCH /me': { request: account.UpdateMeRequest; response: user.User };
  /** Changes the capacity of a node. Under what is used, nothing remains until enough is freed. */
  'PATCH /nodes/{node_id}': { request: allocator.ResizeNodeRequest; response: allocator.Node };
  /**
   * Makes an account; 409 when there is one of that name. The first of a tenant makes the root as well, and an account `guests` with
   * ALLOC_GUEST_TOKENS_PER_DAY.
   */
  'POST /accounts': { request: allocator.CreateAccountRequest; response: allocator.Account };
  /** Ends new allocations of an account and of all below it; settlements and frees go on. */
  'POST /accounts/{account}/close': { request: allocator.CloseAccountRequest; response: allocator.Account };
  'POST /accounts/{account}/reopen': { request: allocator.ReopenAccountRequest; response: allocator.Account };
  /**
   * Mails an invitation; whoever opens its link becomes a member with these roles, also where registration is closed.
   * A second one for the same address replaces the first.
   */
  'POST /admin/invitations': { request: account.CreateInvitationRequest; response: account.Invitation };
  'POST /admin/service-accounts': { request: machines.CreateServiceAccountRequest; response: machines.ServiceAccount };
  /** Ends the account's tokens and keys, and refuses new tokens. */
  'POST /admin/service-accounts/{account_id}/lock': {
    request: machines.LockServiceAccountRequest;
    response: machines.ServiceAccount;
  };
  /** A public key that verifies the account's assertions (`private_key_jwt`, RFC 7523). Two at most. */
  'POST /admin/service-accounts/{account_id}/public-keys': {
    request: machines.AddPublicKeyRequest;
    response: machines.ServiceAccount;
  };
  /** A new client secret, shown once. An account has two at most, so that one can be replaced without an outage. */
  'POST /admin/service-accounts/{account_id}/secrets': {
    request: machines.AddSecretRequest;
    response: machines.AddSecretResponse;
  };
  'POST /admin/service-accounts/{account_id}/unlock': {
    request: machines.UnlockServiceAccountRequest;
    response: machines.ServiceAccount;
  };
  'POST /admin/tenants': { request: user.CreateTenantRequest; response: user.Tenant };
  /** Makes an account. Without a password a link to set one is mailed. */
  'POST /admin/users': { request: account.CreateUserRequest; response: user.User };
  /** Ends every session of the user and refuses new ones. An operator is locked, unlocked and given roles by operators alone. */
  'POST /admin/users/{user_id}/lock': { request: user.LockUserRequest; response: user.User };
  /** The next login must choose another password; the user's sessions end. */
  'POST /admin/users/{user_id}/password/expire': { request: account.ExpirePasswordRequest; response: user.User };
  /** For a password that somebody else knows: it is right no more, the user's sessions end, and a link to set another is mailed. */
  'POST /admin/users/{user_id}/password/withdraw': { request: account.WithdrawPasswordRequest; response: user.User };
  /** Keeps an account that was to be deleted. */
  'POST /admin/users/{user_id}/restore': { request: account.RestoreUserRequest; response: user.User };
  'POST /admin/users/{user_id}/unlock': { request: user.UnlockUserRequest; response: user.User };
  /**
   * Reserves tokens on one node. Idempotent by `request_id`: the same request gets the same answer, another count is refused with 409.
   * Once the reservation has ended (it was freed or settled, or its lease is over) the same request is 409 ALLOCATION_ENDED, with
   * `details.state`: a success always stands for tokens that are reserved now.
   *
   * Guests may allocate only where the installation says so; their calls are 403 otherwise. 429 BUDGET_EXHAUSTED says in
   * `details.blocked_by` what is used up: `budget` (no node has as many left), `caller_tokens` (what the caller may hold at most),
   * `caller_requests` (the allocations in flight that the caller may have at most) or `account` (a limit of an account on the caller's
   * path; with `account`, `limit`, `unit`, `period`, `remaining`, `requested` and `resets_at`).
   */
  'POST /alloc': { request: allocator.AllocateRequest; response: allocator.Allocation };
  /**
   * Reserves tokens for many requests at once. Each is decided by itself and gets its own result, in the order of the requests:
   * one that is refused leaves its neighbours alone.
   */
  'POST /alloc/batch': { request: allocator.BatchAllocateRequest; response: allocator.BatchAllocateResponse };
  /** Sets the end of the lease to `ttl_seconds` from now, by the database's clock. An allocation without a lease gets one. */
  'POST /allocations/{request_id}/extend': { request: allocator.ExtendRequest; response: allocator.Allocation };
  /** Returns what an allocation of anyone still holds to its node, and keeps by whom and why in the ledger. */
  'POST /allocations/{request_id}/force_free': { request: allocator.ForceFreeRequest; response: allocator.Allocation };
  /**
   * Makes what was used final and returns the rest to the node and to the limits that were charged; the lease ends. What was settled stays
   * counted until it is freed; for accounts it is spent, and only an operator gives it back (ForceFree). More than was reserved is
   * charged to accounts in full, unless ALLOC_OVERRUN says `reject`.
   * Settling again with the same count gives the same answer, with another one 409.
   */
  'POST /allocations/{request_id}/settle': { request: allocator.SettleRequest; response: allocator.Allocation };
  /** Confirms one side of a change of address with the token of its link. */
  'POST /auth/email/change': {
    request: account.ConfirmEmailChangeRequest;
    response: account.ConfirmEmailChangeResponse;
  };
  /** Verifies an address with the token of the mailed link and the password of that registration: whoever has only one of them gets nothing. */
  'POST /auth/email/verify': { request: account.VerifyEmailRequest; response: account.VerifyEmailResponse };
  /**
   * An anonymous token for a device. A token that is alive is returned again, unless the cause is `quota_used_up`; how often a new one is
   * issued is limited.
   */
  'POST /auth/guest': { request: user.CreateGuestRequest; response: user.TokenResponse };
  /**
   * What a device may ask for now, without asking for it: nothing is issued, and it counts against no limit of guest tokens. With POST the
   * device's name is in no address that is logged on the way.
   */
  'POST /auth/guest/limits': { request: user.GetGuestLimitsRequest; response: user.GuestAllowance };
  /** Turns the calling guest into a user with a password; the id stays. Repeating it with the same password succeeds. */
  'POST /auth/guest/upgrade': { request: user.UpgradeGuestRequest; response: user.TokenResponse };
  /** Makes the account that an invitation is for. */
  'POST /auth/invitation': { request: account.AcceptInvitationRequest; response: account.AcceptInvitationResponse };
  /** Opens a session: an access token and a refresh token. */
  'POST /auth/login': { request: user.LoginRequest; response: user.TokenResponse };
  /** Ends the caller's session, or all of the caller's sessions. Ending an ended session succeeds. */
  'POST /auth/logout': { request: user.LogoutRequest; response: user.LogoutResponse };
  /** Mails a link with which a new password can be set. The answer is the same whether there is an account with this address. */
  'POST /auth/password/forgot': {
    request: account.RequestPasswordResetRequest;
    response: account.RequestPasswordResetResponse;
  };
  /** Sets a new password with the token of a mailed link, or the one that a login which asks for another password gave. Ends every session. */
  'POST /auth/password/reset': { request: account.ResetPasswordRequest; response: account.ResetPasswordResponse };
  /** Rotates the refresh token of a session and issues an access token. */
  'POST /auth/refresh': { request: user.RefreshRequest; response: user.TokenResponse };
  /** Creates an account with a password. */
  'POST /auth/register': { request: user.RegisterRequest; response: user.RegisterResponse };
  /** Keeps an account that was to be deleted. */
  'POST /auth/restore': { request: account.RestoreAccountRequest; response: account.RestoreAccountResponse };
  /** Returns what an allocation still holds to its node. Freeing twice gives one credit. */
  'POST /free': { request: allocator.FreeRequest; response: allocator.Allocation };
  'POST /keys': { request: machines.CreateApiKeyRequest; response: machines.CreateApiKeyResponse };
  /** A new text for the same key, shown once; the former one works on for the overlap. */
  'POST /keys/{key_id}/rotate': { request: machines.RotateApiKeyRequest; response: machines.CreateApiKeyResponse };
  /** Gives more until a time, over however many periods begin before it; 0 ends it now. */
  'POST /limits/{limit_id}/override': { request: allocator.OverrideLimitRequest; response: allocator.Limit };
  /** Adds to the running period alone. */
  'POST /limits/{limit_id}/top_up': { request: allocator.TopUpLimitRequest; response: allocator.Limit };
  /** Opens a session: an access token and a refresh token. */
  'POST /login': { request: user.LoginRequest; response: user.TokenResponse };
  /** Ends every session and deletes the account when its grace is over; until then a login, or the mailed link, gives a token that keeps it. */
  'POST /me/delete': { request: account.DeleteMeRequest; response: account.DeleteMeResponse };
  /** Asks for another address. It becomes the account's when the links that are mailed to the present and the new one have both been used. */
  'POST /me/email': { request: account.ChangeEmailRequest; response: account.ChangeEmailResponse };
  /** Mails the link that verifies the caller's address once more. */
  'POST /me/email/verification': {
    request: account.RequestVerificationRequest;
    response: account.RequestVerificationResponse;
  };
  /** Gives the caller another password and ends the caller's other sessions. */
  'POST /me/password': { request: account.ChangePasswordRequest; response: account.ChangePasswordResponse };
  /** Adds a node; 409 when there is one of that name. */
  'POST /nodes': { request: allocator.AddNodeRequest; response: allocator.Node };
  /** Ends new allocations on a node; frees and settlements go on. */
  'POST /nodes/{node_id}/drain': { request: allocator.DrainNodeRequest; response: allocator.Node };
  /** Gives a node another name, with everything it holds; 409 when there is one of that name. NODES may go on saying the old one. */
  'POST /nodes/{node_id}/rename': { request: allocator.RenameNodeRequest; response: allocator.Node };
  /** Takes a node out until a time, for example as long as a provider's 429 says; it comes back by itself. */
  'POST /nodes/{node_id}/rest': { request: allocator.RestNodeRequest; response: allocator.Node };
  /** Opens a drained node to allocations again. */
  'POST /nodes/{node_id}/undrain': { request: allocator.UndrainNodeRequest; response: allocator.Node };
  /** Opens a session of the caller, guest or user. */
  'POST /sessions': { request: postcard.CreateSessionRequest; response: postcard.Session };
  /** Changes how nodes are chosen, for every replica, between batches. */
  'POST /strategy': { request: allocator.SetStrategyRequest; response: allocator.StrategySetting };
  /**
   * Makes a limit, or changes the one of the same account, unit, period, time zone and mode. Takes effect at once, on the running period as
   * well: below what is used nothing is left. A new limit counts from now on.
   */
  'PUT /accounts/{account}/limits': { request: allocator.SetLimitRequest; response: allocator.Limit };
  /** Replaces roles, scopes and audiences. Tokens that name the old ones end at once. */
  'PUT /admin/service-accounts/{account_id}/grants': {
    request: machines.SetGrantsRequest;
    response: machines.ServiceAccount;
  };
  /** Sets a password that is to be replaced at the next login, and ends the user's sessions. */
  'PUT /admin/users/{user_id}/password': { request: account.SetPasswordRequest; response: user.User };
  /** Replaces the roles of a user and ends the user's sessions, whose tokens name the old ones. */
  'PUT /admin/users/{user_id}/roles': { request: user.SetRolesRequest; response: user.User };
  /** Sets a node's refill window, beside its balance. */
  'PUT /nodes/{node_id}/window': { request: allocator.SetNodeWindowRequest; response: allocator.Node };
}

/** Calls whose answer comes in parts, by method and path under `/api/v1`. */
export interface StreamRoutes {
  /** Everything that the user service keeps of a tenant, one record after another. */
  'GET /admin/tenants/{tenant_id}/export': { request: account.ExportTenantRequest; response: account.ExportRecord };
  /** Everything that is kept about the caller, one record after another (GDPR articles 15 and 20). */
  'GET /me/export': { request: account.ExportMeRequest; response: account.ExportRecord };
  /** Usage now, and again whenever it has changed, until the caller leaves. */
  'GET /metrics/watch': { request: allocator.WatchUsageRequest; response: allocator.Usage };
  /** Sends a message; the reply comes token by token. Its cost is reserved before and settled after. 429 when the budget is spent. */
  'POST /sessions/{session_id}/messages': { request: postcard.SendMessageRequest; response: postcard.ReplyPart };
}
