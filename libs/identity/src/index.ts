export {
  API_KEY_BEGINNING,
  apiKeyDigest,
  type ApiKeyEnvironment,
  apiKeyEnvironments,
  environmentOfApiKey,
  newApiKey,
  randomText,
} from './api-key.js';
export { sluiceClaims, type Caller, type CallerKey, type ClaimNames } from './caller.js';
export { blockAddress, networkOf, plainAddress } from './network.js';
export { discoveredKeySet, httpKeySet } from './http-key-set.js';
export type { JsonWebKeySet } from './key-source.js';
export { KeyVerifier, type KeyVerifierOptions, type KeyVerifierStats, type LookedUpKey } from './key-verifier.js';
export { refusals } from './refusals.js';
export { RevocationList, type Revocation } from './revocation-list.js';
export { algorithms, type Algorithm } from './token-structure.js';
export {
  createVerifier,
  type Leave,
  type TokenVerifier,
  type Verdict,
  type VerifierOptions,
  type VerifierStats,
} from './verifier.js';
