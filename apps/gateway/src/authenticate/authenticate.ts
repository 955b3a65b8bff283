import type { Caller } from '@sluice/identity';
import { Problem, toProblem } from '@sluice/problem';
import type { Exchange } from '../exchange.js';

/** RFC 6750 section 3. */
const challenge = { 'www-authenticate': 'Bearer realm="sluice"' };
const refusal = { 'www-authenticate': 'Bearer realm="sluice", error="invalid_token"' };

/**
 * Pipeline stage: who is calling, and may such a caller use the method. On a public route whatever `Authorization`
 * says is ignored. A token that was seen before is judged at once; a new one takes a promise.
 */
export function authenticate(exchange: Exchange): void | Promise<void> {
  const { access } = exchange.route.target;
  const { verifier } = exchange.runtime;
  if (access.public || !verifier) return undefined;
  const { authorization } = exchange.head;
  if (authorization.kind === 'faulty') throw authorization.problem;
  if (authorization.kind === 'absent') {
    throw new Problem('UNAUTHENTICATED', 'Send: Authorization: Bearer <access token>', { headers: challenge });
  }
  let verdict: Caller | Promise<Caller>;
  try {
    verdict = verifier.verify(authorization.token, Date.now(), access.endedSessions);
  } catch (error) {
    return refuse(exchange, error);
  }
  if (verdict instanceof Promise) {
    return verdict.then(
      (caller) => admit(exchange, caller, authorization.token),
      (error: unknown) => refuse(exchange, error),
    );
  }
  return admit(exchange, verdict, authorization.token);
}

function admit(exchange: Exchange, caller: Caller, token: string): void | Promise<void> {
  const { access } = exchange.route.target;
  if (access.noGuests && caller.guest) throw new Problem('PERMISSION_DENIED', 'Guests may not call this method.');
  if (access.roles.length > 0 && !access.roles.some((role) => caller.roles.includes(role))) {
    throw new Problem('PERMISSION_DENIED', `This method needs the role ${access.roles.join(' or ')}.`);
  }
  exchange.caller = caller;
  const asked = access.endedSessions ? undefined : exchange.runtime.revocations?.check(token);
  return asked?.catch((error: unknown) => refuse(exchange, error));
}

/** A refused token counts against the address it came from, and against nothing else. */
function refuse(exchange: Exchange, thrown: unknown): void | Promise<void> {
  const problem = toProblem(thrown);
  if (problem.status !== 401) throw problem;
  const answer = () => {
    throw new Problem(problem.code, problem.message, {
      details: problem.details,
      headers: refusal,
      cause: problem.cause,
    });
  };
  const guarded = exchange.runtime.limiter.countGuess(exchange);
  return guarded ? guarded.then(answer) : answer();
}
