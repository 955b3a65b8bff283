export { SchemaError, TranscodeError, transcodeErrorStatus } from './errors.js';
export type { Position, TranscodeErrorCode } from './errors.js';
export { loadSchema, methodOption } from './schema.js';
export type { MethodInfo, MethodKind, Schema } from './schema.js';
export type { HttpRule, HttpRuleOverride } from './http/rule.js';
export type { PathTemplate, PathVariable } from './http/template.js';
export { RouteTable } from './http/route-table.js';
export type { RouteMatch } from './http/route-table.js';
export { messageCodec } from './codec.js';
export type { MessageCodec } from './codec.js';
export { accepts } from './request/media-type.js';
export { compileBindings } from './binding.js';
export type {
  Binding,
  JsonOptions,
  RequestParts,
  RequestStream,
  ResponseBody,
  ResponseStream,
  RouteOptions,
} from './binding.js';
export { openapi } from './openapi/openapi.js';
export type { OpenApiOptions } from './openapi/openapi.js';
