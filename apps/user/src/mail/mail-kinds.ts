/** What a link of a mail is for. One of a purpose and an owner is good at a time. */
export type LinkPurpose =
  | 'reset'
  /** The same, given by a login that asks for another password instead of a mail. */
  | 'replace'
  | 'verify'
  | 'claim'
  | 'email-old'
  | 'email-new'
  | 'invitation'
  | 'restore';

/** The last part of the address that a link leads to. */
export type LinkAction = 'reset' | 'verify' | 'email' | 'invitation' | 'restore';

interface MailKindRow {
  /** The name of the files of its template. */
  readonly template: string;
  readonly link?: { readonly purpose: LinkPurpose; readonly action: LinkAction };
}

/** Every mail there is. */
export const mailKinds = {
  /** Somebody has forgotten a password, perhaps. */
  reset: { template: 'reset', link: { purpose: 'reset', action: 'reset' } },
  /** An administrator made the account. */
  welcome: { template: 'welcome', link: { purpose: 'reset', action: 'reset' } },
  /** An administrator took the password away. */
  withdrawn: { template: 'withdrawn', link: { purpose: 'reset', action: 'reset' } },
  verify: { template: 'verify', link: { purpose: 'verify', action: 'verify' } },
  /** The same of a further registration for an address that is not verified. */
  claim: { template: 'verify', link: { purpose: 'claim', action: 'verify' } },
  /** Somebody registers with an address that has an account. */
  registered: { template: 'registered' },
  'email-old': { template: 'email-old', link: { purpose: 'email-old', action: 'email' } },
  'email-new': { template: 'email-new', link: { purpose: 'email-new', action: 'email' } },
  'email-changed': { template: 'email-changed' },
  invitation: { template: 'invitation', link: { purpose: 'invitation', action: 'invitation' } },
  'password-changed': { template: 'password-changed' },
  deletion: { template: 'deletion', link: { purpose: 'restore', action: 'restore' } },
} as const satisfies Record<string, MailKindRow>;

export type MailKind = keyof typeof mailKinds;

export function kindRow(kind: MailKind): MailKindRow {
  return mailKinds[kind];
}
