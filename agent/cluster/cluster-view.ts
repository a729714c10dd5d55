import type { ClusterNode, ClusterReport, QueueEntry, StatusReport } from '../../shared/api.js';
import { toMigrationError } from '../../shared/errors.js';
import type { Credentials } from '../../shared/tls/credentials.js';
import { Slots } from '../admission/slots.js';
import type { NodeAddress } from '../node-address.js';
import { clusterQueue } from './cluster-queue.js';
import { peerStatus } from './peer-status.js';

/** Who asks more often is told what was found last: each look asks every node. ms */
const FRESH_MS = 1000;

/** Nodes that are asked at once. */
const AT_ONCE = 32;

export interface ClusterViewOptions {
  readonly node: string;
  readonly url: () => string;
  readonly own: () => { status: StatusReport; queue: QueueEntry[] };
  readonly peers: () => readonly NodeAddress[];
  readonly tls: () => Credentials | null;
  /** Ends the asking, for the end of the agent. */
  readonly signal: AbortSignal;
  /** Unix ms. */
  readonly now?: () => number;
}

type Answer = ClusterNode & { readonly queue: QueueEntry[] };

/** All nodes of the cluster, as this one sees them: what each says of itself. */
export class ClusterView {
  readonly #options: ClusterViewOptions;
  readonly #now: () => number;
  readonly #slots = new Slots(AT_ONCE, AT_ONCE);
  /** Peers that gave no answer when they were asked last: a host that is off answers after a long time, by nothing. */
  readonly #failed = new Map<string, Answer>();
  /** Questions that are open, by peer. */
  readonly #asking = new Map<string, Promise<Answer>>();
  #last: { readonly at: number; readonly report: Promise<ClusterReport> } | null = null;
  /** The look after the one that is under way: who asks for a fresh one waits for it, all for the same. */
  #next: Promise<ClusterReport> | null = null;

  constructor(options: ClusterViewOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /**
   * Never fails for a node that does not answer: its entry says why. `fresh`: nothing that was found before it was asked for; else
   * a node that did not answer the last time is not waited for.
   */
  async report(fresh = false): Promise<ClusterReport> {
    if (!this.#last || this.#now() - this.#last.at >= FRESH_MS) return await this.#begin(fresh);
    if (!fresh) return await this.#last.report;
    this.#next ??= this.#last.report.then(() => {
      this.#next = null;
      return this.#begin(true);
    });
    return await this.#next;
  }

  #begin(fresh: boolean): Promise<ClusterReport> {
    const at = this.#now();
    const report = this.#look(at, fresh);
    this.#last = { at, report };
    return report;
  }

  async #look(at: number, fresh: boolean): Promise<ClusterReport> {
    const { node, url, own, peers } = this.#options;
    const questions = peers().map((peer) => {
      const last = fresh ? undefined : this.#failed.get(peer.node);
      return { last, answer: (last && this.#asking.get(peer.node)) ?? this.#ask(peer) };
    });
    await Promise.all(questions.flatMap(({ last, answer }) => (last ? [] : [answer])));
    const found = await Promise.all(
      questions.map(({ last, answer }) => (last ? Promise.race([answer, Promise.resolve(last)]) : answer)),
    );
    found.push({ node, url: url(), ...own(), error: null });
    found.sort((a, b) => (a.node < b.node ? -1 : 1));
    const views = found.flatMap(({ node: name, status, queue }) =>
      status ? [{ node: name, status, queue }] : [],
    );
    return {
      node,
      at: new Date(at).toISOString(),
      nodes: found.map(({ queue: _, ...each }) => each),
      queue: clusterQueue(views, at),
    };
  }

  #ask(peer: NodeAddress): Promise<Answer> {
    const asking = this.#answerOf(peer).then((answer) => {
      if (answer.error) this.#failed.set(peer.node, answer);
      else this.#failed.delete(peer.node);
      if (this.#asking.get(peer.node) === asking) this.#asking.delete(peer.node);
      return answer;
    });
    this.#asking.set(peer.node, asking);
    return asking;
  }

  async #answerOf(peer: NodeAddress): Promise<Answer> {
    const { tls, signal } = this.#options;
    try {
      const answer = await this.#slots.run(peer.node, signal, () => peerStatus(peer, tls(), signal));
      return { ...peer, ...answer, error: null };
    } catch (error) {
      return { ...peer, status: null, queue: [], error: toMigrationError(error, 'peer-failed').toJSON() };
    }
  }
}
