import type { Caller } from '@sluice/identity';
import { Problem, toProblem } from '@sluice/problem';
import type { Exchange } from '../exchange.js';

/** RFC 6750 section 3. */
const challenge = { 'www-authenticate': 'Bearer realm="sluice"' };

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
  const { token } = authorization;
  const { limiter } = exchange.runtime;
  let counted = false;
  // A signature that is to be checked counts as a guess until it proves to be none.
  const beforeSignature = (): void | Promise<void> => {
    const deciding = limiter.countGuess(exchange);
    if (deciding) return deciding.then(() => void (counted = true));
    counted = true;
    return undefined;
  };
  let verdict: Caller | Promise<Caller>;
  try {
    verdict = verifier.verify(token, Date.now(), access.endedSessions, beforeSignature);
  } catch (error) {
    return refuse(exchange, error, false);
  }
  if (!(verdict instanceof Promise)) return admit(exchange, verdict, token);
  return verdict.then(
    (caller) => {
      if (counted) limiter.takeBackGuess(exchange);
      return admit(exchange, caller, token);
    },
    (error: unknown) => refuse(exchange, error, counted),
  );
}

function admit(exchange: Exchange, caller: Caller, token: string): void | Promise<void> {
  const { access } = exchange.route.target;
  if (access.noGuests && caller.guest) throw new Problem('PERMISSION_DENIED', 'Guests may not call this method.');
  if (access.roles.length > 0 && !access.roles.some((role) => caller.roles.includes(role))) {
    throw new Problem('PERMISSION_DENIED', `This method needs the role ${access.roles.join(' or ')}.`);
  }
  exchange.caller = caller;
  return access.endedSessions ? undefined : exchange.runtime.revocations?.check(token);
}

/**
 * A token that was made up counts against the address it came from, and against nothing else. One that has expired, or whose
 * session has ended, was good once: nobody guesses it, and a storm of them is to cost as little as can be.
 */
function refuse(exchange: Exchange, thrown: unknown, counted: boolean): void | Promise<void> {
  const problem = toProblem(thrown);
  const { limiter } = exchange.runtime;
  const guessed = problem.code === 'TOKEN_INVALID';
  if (counted && !guessed) limiter.takeBackGuess(exchange);
  if (counted || !guessed) throw problem;
  const counting = limiter.countGuess(exchange);
  if (!counting) throw problem;
  return counting.then(() => {
    throw problem;
  });
}
