/** Peers whose answers are remembered; with the next: bounds the memory that askers of any name can cause. */
const MAX_PEERS = 64;

/** Answers remembered for each peer. A source asks for the outcome of few migrations, and prepares none after that. */
const MAX_ANSWERS = 256;

/**
 * Migrations that this node knew nothing of when it was asked for their outcome, and of which it has said that they are
 * aborted: they must not be prepared any more. In memory is enough: a message that was on its way when the answer was
 * given came over a connection that does not outlive this process. The oldest answers make room.
 */
export class AbortedAnswers {
  readonly #peers = new Map<string, Set<string>>();

  remember(peer: string, migration: string): void {
    const answers = this.#peers.get(peer) ?? new Set<string>();
    answers.add(migration);
    dropOldest(answers, MAX_ANSWERS);
    // entered anew: those that asked last are kept
    this.#peers.delete(peer);
    this.#peers.set(peer, answers);
    dropOldest(this.#peers, MAX_PEERS);
  }

  has(peer: string, migration: string): boolean {
    return this.#peers.get(peer)?.has(migration) ?? false;
  }
}

function dropOldest(entries: Pick<Map<string, unknown>, 'size' | 'keys' | 'delete'>, most: number): void {
  for (const oldest of entries.keys()) {
    if (entries.size <= most) return;
    entries.delete(oldest);
  }
}
