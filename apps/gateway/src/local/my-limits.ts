import type { LocalMethod } from './local.js';

/** `GET /me/limits`: what is left to the caller in each bucket that is its own. */
export const myLimits: LocalMethod = async (exchange) => {
  const { limiter } = exchange.runtime;
  const targets = [...exchange.routes.grpc.values()].map((forms) => forms.grpc.target);
  const states = await limiter.left(exchange, targets);
  const limits = states.map(({ verdict, rpc }) => ({
    policy: verdict.policy.name,
    dimensions: [...verdict.policy.dimensions],
    rpc: rpc ?? '',
    limit: BigInt(verdict.policy.limit),
    windowSeconds: verdict.policy.windowMs / 1000,
    remaining: BigInt(Math.max(0, Math.floor(verdict.remaining))),
    retryAfterMs: BigInt(Number.isFinite(verdict.retryAfterMs) ? Math.ceil(verdict.retryAfterMs) : 0),
    resetMs: BigInt(Math.ceil(verdict.resetMs)),
    shadow: verdict.shadow,
  }));
  return { status: 200, message: { limits } };
};
