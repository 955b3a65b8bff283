import { Controller } from '@nestjs/common';
import { userV1 } from '@sluice/contract';
import { Keys } from './keys.js';
import type { PublicKey } from './signing-key.js';

/** A request for the key set reads the database at most this often. */
const FRESH_MS = 1000;

@Controller()
@userV1.KeyServiceControllerMethods()
export class KeyController implements userV1.KeyServiceController {
  private readAtMs = 0;

  constructor(private readonly keys: Keys) {}

  async getKeySet(): Promise<userV1.KeySet> {
    if (Date.now() - this.readAtMs > FRESH_MS) {
      this.readAtMs = Date.now();
      // A verifier that asks because of an unknown key must find the one that was made a moment ago.
      await this.keys.reload().catch(() => undefined);
    }
    return { keys: this.keys.current.published.map(toJwk) };
  }
}

export function toJwk({ kid, x, y }: PublicKey): userV1.Key {
  return { kty: 'EC', crv: 'P-256', x, y, kid, use: 'sig', alg: 'ES256' };
}
