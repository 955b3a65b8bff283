import { faultAt, type FileFault } from '@sluice/config';
import { usual } from '../schema.js';
import type { Subject } from './check.js';

/** Settings of streams where nothing streams, and bounds that another leaves no room for. A default was written by nobody. */
export function* streams({ upstreams, authenticates }: Subject): Iterable<FileFault> {
  for (const { config, methods, bindings } of upstreams) {
    const at = ['upstreams', config.name];
    const { max, envelope, ...each } = config.streams;
    for (const key of ['max_per_caller', 'max_per_address'] as const) {
      if (each[key] === usual.streams[key]) continue;
      const path = [...at, 'streams', key];
      if (each[key] > max) yield faultAt(path, { value: each[key], expected: `no more than streams.max, ${max}` });
      if (key === 'max_per_caller' && !authenticates) {
        yield faultAt(path, { value: each[key], expected: '`auth`: without it no caller is known' });
      }
    }
    const none = 'a method that streams: this upstream has none';
    if (envelope !== 'none' && !bindings.some(({ method }) => method.kind !== 'unary')) {
      yield faultAt([...at, 'streams', 'envelope'], { value: envelope, expected: `${none} with an HTTP rule` });
    }
    if (config.stream_timeout !== usual.stream_timeout && !methods.some(({ kind }) => kind !== 'unary')) {
      const value = config.stream_timeout === Infinity ? 'none' : `${config.stream_timeout}ms`;
      yield faultAt([...at, 'stream_timeout'], { value, expected: none });
    }
  }
}
