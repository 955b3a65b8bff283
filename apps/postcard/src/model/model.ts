/** A message and what was answered. */
export interface Turn {
  readonly question: string;
  readonly answer: string;
}

export interface ReplyRequest {
  /** What was said before, oldest first. */
  readonly turns: readonly Turn[];
  readonly question: string;
  readonly tokensMax: number;
  /** Fires when nobody wants the reply any more. */
  readonly signal: AbortSignal;
}

/** What a model says while it answers. */
export type ReplyEvent =
  /** The next piece of the text; it counts as one token unless a count comes later. */
  | { readonly kind: 'text'; readonly text: string }
  /** What the provider itself counted, question and history included. */
  | { readonly kind: 'cost'; readonly tokens: number };

/** Whatever writes replies. */
export interface Model {
  /**
   * Streams a reply and ends when it is complete.
   *
   * @throws Problem UNAVAILABLE or OVERLOADED when the provider fails, also in the middle; the signal's reason when it fires
   */
  reply(request: ReplyRequest): AsyncIterable<ReplyEvent>;
}

/** Four characters a token is what English comes to in the usual vocabularies; every text is at least one. */
export function estimateTokens(text: string): number {
  return Math.max(1, Math.ceil(text.length / 4));
}

/** What a question costs before its answer: itself and all that is sent along. */
export function estimatePrompt(turns: readonly Turn[], question: string): number {
  return turns.reduce(
    (sum, turn) => sum + estimateTokens(turn.question) + estimateTokens(turn.answer),
    estimateTokens(question),
  );
}
