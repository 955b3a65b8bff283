import type { Operation, OperationKind } from './operation.js';

/** An allocation in the model. */
export interface ModelAllocation {
  readonly node: string;
  readonly subject: string;
  readonly count: number;
  readonly ttl: number;
  readonly strategy: 'best' | 'largest';
  settled: number;
  state: 1 | 2 | 3 | 4;
  /** Seconds of the model's clock. */
  expires: number | undefined;
}

export interface ModelNode {
  capacity: number;
  used: number;
  draining: boolean;
}

/** What the model says about an outcome. */
export interface ModelOutcome {
  readonly result: string;
  readonly allocation?: ModelAllocation;
  readonly largest?: number;
}

/** What a caller may hold at most; 0: any number. */
export interface ModelBounds {
  readonly tokens: number;
  readonly requests: number;
}

/** The allocator as one would write it for a single thread without a database. */
export class Model {
  readonly nodes = new Map<string, ModelNode>();
  readonly allocations = new Map<string, ModelAllocation>();
  strategy: 'best' | 'largest' = 'best';
  now = 0;

  constructor(
    readonly threshold: number,
    readonly bounds: ModelBounds = { tokens: 0, requests: 0 },
  ) {}

  apply(operations: readonly Operation[]): ModelOutcome[] {
    for (const allocation of this.allocations.values()) {
      if (allocation.state === 1 && allocation.expires !== undefined && allocation.expires <= this.now)
        this.close(allocation, 4);
    }
    const outcomes: (ModelOutcome | undefined)[] = operations.map((operation) => this.change(operation));
    return outcomes.map((outcome, index) => outcome ?? this.place(operations[index] as Operation));
  }

  /** Undefined: it is a new allocation, which comes after everything that gives back. */
  private change(operation: Operation): ModelOutcome | undefined {
    const { kind, requestId, subject, privileged } = operation;
    const count = Number(operation.tokenCount);
    const allocation = this.allocations.get(requestId);
    if (!allocation) return kind === 'allocate' ? undefined : { result: 'not found' };
    if (allocation.subject !== subject && !privileged) {
      return { result: kind === 'allocate' ? 'mismatch' : 'not found' };
    }
    return this.changeOwn(allocation, kind, count, operation.ttlSeconds);
  }

  private changeOwn(allocation: ModelAllocation, kind: OperationKind, count: number, ttl: number): ModelOutcome {
    const answer = (result: string) => ({ result, allocation: { ...allocation } });
    switch (kind) {
      case 'allocate':
        if (allocation.count !== count || allocation.ttl !== Math.max(ttl, 0)) return { result: 'mismatch' };
        return answer(allocation.state === 1 ? 'done' : 'ended');
      case 'free':
        if (allocation.state <= 2) this.close(allocation, 3);
        return answer('done');
      case 'extend':
        if (allocation.state !== 1) return answer('ended');
        allocation.expires = this.now + ttl;
        return answer('done');
      case 'settle':
        if (allocation.state === 2) return allocation.settled === count ? answer('done') : { result: 'mismatch' };
        if (allocation.state !== 1) return answer('ended');
        if (count > allocation.count) return answer('too much');
        (this.nodes.get(allocation.node) as ModelNode).used -= allocation.count - count;
        Object.assign(allocation, { state: 2, settled: count, expires: undefined });
        return answer('done');
    }
  }

  /** What a caller holds now. */
  held(subject: string): { tokens: number; requests: number } {
    const own = [...this.allocations.values()].filter((allocation) => allocation.subject === subject);
    const flying = own.filter(({ state }) => state === 1);
    const settled = own.filter(({ state }) => state === 2);
    const sum = (counts: number[]) => counts.reduce((total, count) => total + count, 0);
    return {
      tokens: sum(flying.map(({ count }) => count)) + sum(settled.map((allocation) => allocation.settled)),
      requests: flying.length,
    };
  }

  private close(allocation: ModelAllocation, state: 3 | 4): void {
    const node = this.nodes.get(allocation.node) as ModelNode;
    node.used -= allocation.state === 1 ? allocation.count : allocation.settled;
    allocation.state = state;
  }

  private place({ requestId, subject, tokenCount, ttlSeconds }: Operation): ModelOutcome {
    const count = Number(tokenCount);
    const own = this.held(subject);
    if (this.bounds.requests > 0 && own.requests >= this.bounds.requests) return { result: 'too many requests' };
    if (this.bounds.tokens > 0 && own.tokens + count > this.bounds.tokens) {
      return { result: 'too many tokens', largest: Math.max(0, this.bounds.tokens - own.tokens) };
    }
    const strategy = this.strategy === 'largest' || count > this.threshold ? 'largest' : 'best';
    const open = [...this.nodes]
      .filter(([, node]) => !node.draining)
      .map(([id, node]) => ({ id, remaining: node.capacity - node.used }));
    const byId = (one: string, other: string) => (one < other ? -1 : 1);
    open.sort((one, other) => one.remaining - other.remaining || byId(one.id, other.id));
    const largest = open.at(-1)?.remaining ?? 0;
    const wanted = strategy === 'best' ? count : largest;
    const chosen = open.find(({ remaining }) => remaining >= wanted && remaining >= count);
    if (!chosen) return { result: 'exhausted', largest: Math.max(0, largest) };
    (this.nodes.get(chosen.id) as ModelNode).used += count;
    const expires = ttlSeconds === 0 ? undefined : this.now + Math.abs(ttlSeconds);
    const allocation: ModelAllocation = {
      node: chosen.id,
      subject,
      count,
      ttl: Math.max(ttlSeconds, 0),
      strategy,
      settled: 0,
      state: 1,
      expires,
    };
    this.allocations.set(requestId, allocation);
    return { result: 'done', allocation: { ...allocation } };
  }
}
