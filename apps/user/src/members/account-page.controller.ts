import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Metadata } from '@grpc/grpc-js';
import { Controller } from '@nestjs/common';
import { accountV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import type { TokenCall } from '../tokens/refresh-cookie.js';

const ACTIONS: ReadonlySet<string> = new Set(['reset', 'verify', 'email', 'invitation', 'restore']);
const PAGE = readFileSync(new URL('../../pages/account.html', import.meta.url));

/** Nothing but what is in the page runs on it, it is in no frame, and it tells nobody where its visitor came from. */
const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': `default-src 'none'; script-src ${hashOf('script')}; style-src ${hashOf('style')}; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'referrer-policy': 'no-referrer',
};

function hashOf(element: 'script' | 'style'): string {
  const content = new RegExp(`<${element}>([^]*)</${element}>`).exec(PAGE.toString())![1]!;
  return `'sha256-${createHash('sha256').update(content).digest('base64')}'`;
}

/** Where the links of mails lead. */
@Controller()
@accountV1.AccountPageServiceControllerMethods()
export class AccountPageController implements accountV1.AccountPageServiceController {
  getAccountPage({ action }: accountV1.GetAccountPageRequest, _metadata?: Metadata, grpc?: TokenCall) {
    if (!ACTIONS.has(action)) throw new Problem('NOT_FOUND', 'There is no such page.');
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(HEADERS)) metadata.set(name, value);
    grpc?.sendMetadata(metadata);
    return { content_type: 'text/html; charset=utf-8', data: PAGE, extensions: [] };
  }
}
