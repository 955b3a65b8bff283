import { AccountsAndSessions1764000000001 } from './1-accounts-and-sessions.js';
import { GuestsAndAudit1764000000002 } from './2-guests-and-audit.js';
import { RefreshRate1764000000003 } from './3-refresh-rate.js';
import { TokenReach1764000000004 } from './4-token-reach.js';
import { PasswordVersion1764000000005 } from './5-password-version.js';
import { NotificationsWake1764000000006 } from './6-notifications-wake.js';
import { KnownNetworks1764000000007 } from './7-known-networks.js';
import { CanonicalAddresses1764000000008 } from './8-canonical-addresses.js';
import { MailAndLinks1764000000009 } from './9-mail-and-links.js';
import { Machines1764000000010 } from './10-machines.js';
import { SearchPath1764000000011 } from './11-search-path.js';

/** In the order in which they run. */
export const migrations = [
  AccountsAndSessions1764000000001,
  GuestsAndAudit1764000000002,
  RefreshRate1764000000003,
  TokenReach1764000000004,
  PasswordVersion1764000000005,
  NotificationsWake1764000000006,
  KnownNetworks1764000000007,
  CanonicalAddresses1764000000008,
  MailAndLinks1764000000009,
  Machines1764000000010,
  SearchPath1764000000011,
];
