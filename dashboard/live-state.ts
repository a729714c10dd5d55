import type { AccessReport, ClusterNode, ClusterReport, HistoryEntry, MigrationInfo } from '../shared/api.js';
import { MigrationError, toMigrationError } from '../shared/errors.js';
import type { AgentApi } from './agent-api.js';
import { type MigrationTrace, traceOf, withEvent } from './migration-trace.js';

/** Between two looks at the cluster: while something runs or waits, and while nothing does. ms */
const BUSY_MS = 2000;
const IDLE_MS = 5000;

/** Between two tries to reach an agent that does not answer: the first, each later one twice that, and the longest. ms */
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 10_000;

/** A browser has six connections to one host, of all tabs together. A node runs one migration at a time, benchmarks aside. */
const MOST_FOLLOWED = 2;

/** Migrations that ended while the page was open and are shown still. */
const SHOWN_ENDED = 3;

export type Connection =
  | { readonly state: 'connecting' | 'live' | 'paused' }
  | { readonly state: 'lost'; readonly reason: string }
  /** The agent wants to know who asks; `reason` is its own. */
  | { readonly state: 'refused'; readonly reason: string };

/**
 * What the page knows, kept up to date: looks at the cluster as often as something may have changed, follows the migrations from here as
 * they run. Stops while nobody sees the page, and goes on when the agent is back.
 */
export class LiveState {
  connection: Connection = { state: 'connecting' };
  access: AccessReport | null = null;
  cluster: ClusterReport | null = null;
  history: readonly HistoryEntry[] = [];
  /** Version of the agent that the page came from. */
  firstVersion: string | null = null;
  readonly #traces = new Map<string, MigrationTrace>();
  readonly #api: AgentApi;
  readonly #onChange: () => void;
  readonly #say: (what: string) => void;
  readonly #following = new Map<string, AbortController>();
  /** Those that had ended when the history was asked for, and how. */
  #historyOf: string | null = null;
  /** Migrations that had ended when the page was opened, or have been told of since. */
  #endedBefore: Set<string> | null = null;
  #endPause: () => void = () => undefined;
  /** Whether somebody wants to look who came while a look was under way. */
  #wanted = false;

  /** `say`: for those who hear the page rather than see it. */
  constructor(api: AgentApi, onChange: () => void, say: (what: string) => void) {
    this.#api = api;
    this.#onChange = onChange;
    this.#say = say;
    document.addEventListener('visibilitychange', () => this.#visibilityChanged());
  }

  /** The node that serves the page, as it says it is. */
  get own(): ClusterNode | null {
    return this.cluster?.nodes.find(({ node }) => node === this.cluster?.node) ?? null;
  }

  get mayOperate(): boolean {
    return this.access?.role === 'operate';
  }

  /** Migrations from here: those that run, and the last that ended. */
  get traces(): readonly MigrationTrace[] {
    return [...this.#traces.values()].filter(({ phase }) => phase !== 'queued');
  }

  dismiss(id: string): void {
    this.#traces.delete(id);
    this.#onChange();
  }

  /** Looks at once. */
  lookNow(): void {
    this.#wanted = true;
    this.#endPause();
  }

  signIn(token: string | null): void {
    this.#api.token = token;
    this.access = null;
    this.#historyOf = null;
    this.#endedBefore = null;
    if (token === null) {
      this.#stopFollowing();
      this.cluster = null;
      this.history = [];
      this.#traces.clear();
    }
    this.connection = { state: 'connecting' };
    this.#onChange();
    this.lookNow();
  }

  async run(): Promise<never> {
    let retryMs = FIRST_RETRY_MS;
    for (;;) {
      if (document.hidden) await this.#pause(null);
      try {
        await this.#look();
        retryMs = FIRST_RETRY_MS;
        const busy = (this.cluster?.queue.length ?? 0) > 0;
        await this.#pause(busy ? BUSY_MS : IDLE_MS);
      } catch (error) {
        const { code, message } = toMigrationError(error);
        this.access = null;
        if (code === 'unauthenticated') {
          this.#change({ state: 'refused', reason: message });
          await this.#pause(null);
        } else {
          if (this.connection.state !== 'lost') this.#say(`${message}. The page tries again.`);
          this.#change({ state: 'lost', reason: message });
          await this.#pause(retryMs);
          retryMs = Math.min(LONGEST_RETRY_MS, 2 * retryMs);
        }
      }
    }
  }

  async #look(): Promise<void> {
    const [access, cluster] = await Promise.all([this.access ?? this.#api.access(), this.#api.cluster()]);
    const before = this.connection.state;
    this.access = access;
    this.cluster = cluster;
    const own = this.own?.status;
    this.firstVersion ??= own?.node.version ?? null;
    const fromHere = own?.migrations.filter(({ role }) => role === 'source') ?? [];
    await this.#lookAtHistory(fromHere);
    await this.#settle(fromHere);
    if (!document.hidden) for (const migration of fromHere) this.#follow(migration);
    if (before === 'lost') this.#say('The agent answers again.');
    this.#change({ state: 'live' });
  }

  async #lookAtHistory(fromHere: readonly MigrationInfo[]): Promise<void> {
    const ended = fromHere.flatMap(({ id, result }) => (result ? [`${id} ${result.outcome}`] : [])).join();
    if (ended === this.#historyOf) return;
    this.history = await this.#api.history();
    this.#historyOf = ended;
  }

  /** What ended while the page was not listening: in less than a look takes, unnoticed, or in a way that was not known then. */
  async #settle(fromHere: readonly MigrationInfo[]): Promise<void> {
    const ended = fromHere.filter(({ result }) => result);
    this.#endedBefore ??= new Set(ended.map(({ id }) => id));
    for (const { id, result } of ended) {
      const outcome = this.#traces.get(id)?.result?.outcome;
      const told = outcome === undefined ? this.#endedBefore.has(id) : outcome === result?.outcome;
      // what is told of a node leaves out the rounds
      if (!told && !this.#following.has(id)) this.#end(traceOf(await this.#api.migration(id)));
    }
    for (const { id, result } of this.#traces.values()) {
      if (result || this.#following.has(id) || fromHere.some((migration) => migration.id === id)) continue;
      const known = await this.#api.migration(id).catch(notFound);
      if (known?.result) this.#end(traceOf(known));
      else this.#traces.delete(id);
    }
  }

  #end(trace: MigrationTrace): void {
    this.#endedBefore?.add(trace.id);
    this.#set(trace);
    this.#say(endedWords(trace));
  }

  #follow(migration: MigrationInfo): void {
    const { id, phase } = migration;
    if (phase === 'ended' || phase === 'queued' || this.#following.has(id)) return;
    if (this.#following.size >= MOST_FOLLOWED) return;
    const leave = new AbortController();
    this.#following.set(id, leave);
    void this.#readEvents(migration, leave.signal).finally(() => {
      if (this.#following.get(id) === leave) this.#following.delete(id);
      // it has ended, or the agent has: a look tells
      if (!leave.signal.aborted) this.lookNow();
    });
  }

  async #readEvents(migration: MigrationInfo, signal: AbortSignal): Promise<void> {
    let trace = traceOf({ ...migration, phase: 'queued', progress: null, copying: null });
    try {
      for await (const event of this.#api.migrationEvents(migration.id, signal)) {
        trace = withEvent(trace, event);
        if (event.event === 'ended') this.#end(trace);
        else this.#set(trace);
        if (event.event === 'phase' && event.phase === 'copying')
          this.#say(`${trace.vm} is being copied to ${trace.to}.`);
      }
    } catch {
      // The next look says what is wrong, and begins anew.
    }
  }

  #set(trace: MigrationTrace): void {
    this.#traces.set(trace.id, trace);
    const ended = [...this.#traces.values()].filter(({ result }) => result);
    for (const { id } of ended.slice(0, -SHOWN_ENDED)) this.#traces.delete(id);
    this.#onChange();
  }

  #change(connection: Connection): void {
    this.connection = connection;
    this.#onChange();
  }

  #visibilityChanged(): void {
    if (document.hidden) {
      this.#stopFollowing();
      if (this.connection.state === 'live') this.#change({ state: 'paused' });
    } else {
      this.lookNow();
    }
  }

  #stopFollowing(): void {
    for (const leave of this.#following.values()) leave.abort();
    this.#following.clear();
  }

  /** Waits so long, or until somebody wants to look. */
  async #pause(ms: number | null): Promise<void> {
    if (!this.#wanted) {
      await new Promise<void>((resolve) => {
        const timer = ms === null ? undefined : setTimeout(resolve, ms);
        this.#endPause = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#wanted = false;
  }
}

function notFound(error: unknown): null {
  if (error instanceof MigrationError && error.code === 'not-found') return null;
  throw error;
}

function endedWords({ vm, from, to, result }: MigrationTrace): string {
  switch (result?.outcome) {
    case 'completed':
      return `${vm} has moved to ${to}.`;
    case 'cancelled':
      return `The migration of ${vm} was cancelled; it runs on ${from} as before.`;
    case 'unknown':
      return `The outcome of the migration of ${vm} is not known; it stays paused on ${from}.`;
    default:
      return `The migration of ${vm} has failed; it is on ${from} as before.`;
  }
}
