import { refusals, type Verdict } from '@sluice/identity';
import { Problem } from '@sluice/problem';
import type { Exchange } from '../exchange.js';
import { restricted } from './restrictions.js';
import { type Authorization, duplicate, duplicateKey } from '../preflight/authorization.js';

/** Nothing: the call may go on. */
type Outcome = void | Problem | Promise<void | Problem>;

const noToken = new Problem('UNAUTHENTICATED', 'Send: Authorization: Bearer <access token>', {
  // RFC 6750 section 3.
  headers: { 'www-authenticate': 'Bearer realm="sluice"' },
  lasting: true,
});

/**
 * Pipeline stage: who is calling, and may such a caller use the method. On a public route whatever `Authorization`
 * says is not judged here: at most it goes on. A token that was seen before is judged at once; a new one takes a promise.
 */
export function authenticate(exchange: Exchange): Outcome {
  const { access } = exchange.route.target;
  const { verifier, limiter } = exchange.runtime;
  const { authorization } = exchange.head;
  if (access.public || !verifier)
    return isAmbiguous(authorization) ? ambiguous(exchange, authorization.problem) : undefined;
  if (authorization.kind === 'faulty') return authorization.problem;
  if (authorization.kind === 'absent') return noToken;
  const { token } = authorization;
  // A token that nothing is known of counts as a guess until it proves to be none.
  const leave = () => limiter.countGuess(exchange);
  const verdict =
    authorization.kind === 'key'
      ? exchange.runtime.apiKeys!.judge(token, Date.now(), leave)
      : verifier.judge(token, Date.now(), access.endedSessions, leave);
  return verdict instanceof Promise
    ? verdict.then((settled) => {
        if (!(settled instanceof Problem)) exchange.runtime.tenants.learn(settled.tenant);
        return settle(exchange, settled, token);
      })
    : settle(exchange, verdict, token);
}

/** Two of them are for nobody to choose from: an upstream that judges them gets none of such calls. */
function ambiguous({ route: { target } }: Exchange, problem: Problem): Problem | undefined {
  const goesOn = target.place.kind === 'upstream' && target.place.upstream.forwardsAuthorization;
  return goesOn ? problem : undefined;
}

const isAmbiguous = (authorization: Authorization): authorization is typeof duplicate =>
  authorization === duplicate || authorization === duplicateKey;

function settle(exchange: Exchange, verdict: Verdict, token: string): Outcome {
  if (verdict instanceof Problem) return refuse(exchange, verdict);
  exchange.runtime.limiter.takeBackGuess(exchange);
  const { access } = exchange.route.target;
  if (access.noGuests && verdict.guest) return new Problem('PERMISSION_DENIED', 'Guests may not call this method.');
  if (verdict.unverified && access.verifiedEmail) {
    return new Problem('EMAIL_NOT_VERIFIED', 'Verify your e-mail address first; a refreshed token says so.');
  }
  if (access.roles.length > 0 && !access.roles.some((role) => verdict.roles.includes(role))) {
    return new Problem('PERMISSION_DENIED', `This method needs the role ${access.roles.join(' or ')}.`);
  }
  if (verdict.key !== undefined) {
    const { key } = verdict;
    if (access.noKeys) return new Problem('PERMISSION_DENIED', 'An API key may not call this method. Sign in.');
    const refusal = restricted(key, exchange.route.target.method, exchange.head.clientAddress);
    if (refusal) return refusal;
    exchange.caller = verdict;
    return undefined;
  }
  exchange.caller = verdict;
  exchange.runtime.sessionStreams.shown(verdict);
  return access.endedSessions ? undefined : exchange.runtime.revocations?.check(token);
}

/**
 * A token that was made up counts against the address it came from, and against nothing else. One that has expired, or whose
 * session has ended, was good once: nobody guesses it, and a storm of them is to cost as little as can be.
 */
function refuse(exchange: Exchange, problem: Problem): Outcome {
  const { limiter } = exchange.runtime;
  const guessed = problem.code === 'TOKEN_INVALID';
  if (exchange.guess) {
    if (!guessed) limiter.takeBackGuess(exchange);
    else if (problem === refusals.signature) limiter.wrongSignature(exchange);
    return problem;
  }
  if (!guessed) return problem;
  const counting = limiter.countGuess(exchange);
  return counting instanceof Promise ? counting.then((held) => held ?? problem) : (counting ?? problem);
}
