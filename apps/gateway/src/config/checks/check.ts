import type { FileFault } from '@sluice/config';
import type { MethodInfo } from '@sluice/transcode';
import type { LimitedRoute } from '../../limit/policies.js';
import type { LoadedConfig } from '../loaded.js';

/** Something that can be called, and at which hosts alone. */
export interface HostedRoute extends LimitedRoute {
  readonly hosts: readonly string[] | undefined;
}

/** What checks look at. */
export interface Subject extends LoadedConfig {
  readonly authenticates: boolean;
  /** Everything that can be called, the gateway's own methods too: each HTTP rule, and each method by gRPC. */
  readonly routes: readonly HostedRoute[];
  /** Every method that can be called. */
  readonly methods: readonly MethodInfo[];
  /** The configuration is a part of what the file says. */
  readonly part: boolean;
  /** All upstreams could be read: what names none of their methods names nothing. */
  readonly complete: boolean;
}

/** Asks of some settings whether they can do what they say. Yields what cannot, or can never have an effect. */
export type Check = (subject: Subject) => Iterable<FileFault>;
