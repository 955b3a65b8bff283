export {
  createClient,
  type CallOptions,
  type ClientOptions,
  type GuestClient,
  type SluiceClient,
  type StreamOptions,
} from './client.js';
export { errorOf, retryAfterMs, SluiceError } from './error.js';
export { type GuestAlert, type GuestCause, type GuestPermission, type GuestReason, type GuestRecord } from './guest.js';
export { type GuestOptions } from './guest-limits.js';
export { type Session } from './session.js';
export { memoryStore, type Store } from './store.js';
export { inProcessLock, type Lock } from './lock.js';
export { messagesOf } from './stream.js';
export { fileStore } from './node/file-store.js';
export { fileLock } from './node/file-lock.js';
export { localStorageStore, type StorageLike } from './browser/local-storage.js';
export { webLock, type LockManagerLike } from './browser/web-lock.js';
export { weChat, type WeChatLike, type WeChatOptions, type WeChatRequest, type WeChatTask } from './wechat.js';
export type * from './generated/api.js';
