import type { Binding, MethodInfo, RuleFault, Schema } from '@sluice/transcode';
import type { GatewayConfig, UpstreamConfig } from './schema.js';

/** An upstream of the configuration together with what its files say. */
export interface LoadedUpstream {
  readonly config: UpstreamConfig;
  readonly schema: Schema;
  /** Of the descriptor set. */
  readonly digest: string;
  /** What was read: the descriptor set and PEM files. */
  readonly files: readonly string[];
  /** The methods that the configuration makes callable. */
  readonly methods: readonly MethodInfo[];
  /** The HTTP rules of those methods. */
  readonly bindings: readonly Binding[];
  readonly pem: Readonly<Record<'ca' | 'cert' | 'key', Buffer | undefined>>;
}

/** What is not served although it is there: a rule that `unusable_rules: skip` leaves out, or a service of an imported file. */
export interface LeftOut {
  readonly upstream: string;
  readonly reason: string;
}

/** What the hosts of a pattern get; undefined: every host that no pattern is for. */
export interface LoadedSite {
  readonly pattern: string | undefined;
  readonly served: readonly {
    /** The name of the upstream. */
    readonly upstream: string;
    readonly methods: readonly MethodInfo[];
    readonly bindings: readonly Binding[];
  }[];
}

/** A configuration whose files were read. */
export interface LoadedConfig {
  readonly config: GatewayConfig;
  /** Those whose files can be used. */
  readonly upstreams: readonly LoadedUpstream[];
  /** The first one is for the hosts that no upstream names. */
  readonly sites: readonly LoadedSite[];
  readonly leftOut: readonly LeftOut[];
}

/** Where a rule is in the file: its own place, or that of the descriptor set with the annotation. */
export function rulePath(config: UpstreamConfig, { place }: Pick<RuleFault, 'place'>): (string | number)[] {
  if (!place) return ['upstreams', config.name, 'descriptor_set'];
  const { override, additional } = place;
  const rule = ['upstreams', config.name, 'http', 'rules', override];
  return additional === undefined ? rule : [...rule, 'additional_bindings', additional];
}
