import type { MigrationInfo } from '../../shared/api.js';
import { forecast } from '../../shared/migration-forecast.js';
import { forecastLine, ratesLine, stateLine } from './migration-lines.js';
import type { StatusDisplay } from './status-screen.js';
import { type Look, migrationsOf, outcomeText, printable } from './status-view.js';

/** Least time between two lines of one migration whose phase is the same. ms */
const LINE_INTERVAL_MS = 2000;

/** Plain lines, for logs and pipes: one for each change of a node, of a VM or of a migration, with the time. */
export class StatusLines implements StatusDisplay {
  readonly #write: (line: string) => void;
  readonly #now: () => number;
  /** The last line of each node, VM and migration, and when it was said. */
  readonly #said = new Map<string, { text: string; phase: string; at: number }>();

  constructor(write: (line: string) => void, now: () => number = Date.now) {
    this.#write = write;
    this.#now = now;
  }

  show({ nodes, failure }: Look): void {
    this.#say('agent', failure === null ? 'answers' : `no answer: ${failure.reason}`);
    if (failure) return;
    for (const { node, status, error } of nodes) {
      this.#say(`node ${node}`, status ? 'answers' : `tells nothing: ${error?.message ?? ''}`);
      // Of what it has nothing is known where it says nothing.
      if (!status) continue;
      const { guests } = status;
      for (const guest of guests) this.#say(`node ${node}: VM ${guest.name}`, guest.status);
      this.#forget(`node ${node}: VM `, new Set(guests.map(({ name }) => name)));
    }
    // Oldest first: a log tells things in their order.
    for (const migration of migrationsOf(nodes).reverse()) this.#sayMigration(migration);
  }

  stop(): void {
    // every line was complete
  }

  #sayMigration(migration: MigrationInfo): void {
    const { id, vm, from, to, phase, result, copying, progress } = migration;
    const subject = `migration ${id}`;
    const move = `${vm} from ${from} to ${to}`;
    if (result) {
      this.#say(subject, `${move}; ${outcomeText(result)}`, 'ended');
      return;
    }
    // By its target, which does not know how: worth a line where nothing better was heard.
    if (phase === 'ended') {
      const said = this.#said.get(subject);
      if (said && said.phase !== 'ended') this.#say(subject, `${move}; ended, as node ${from} knows`);
      return;
    }
    const parts = [move, stateLine(migration)];
    if (phase === 'copying' && copying) {
      const rates = ratesLine(migration).replaceAll('   ', ', ');
      parts.push(...(rates === '' ? [] : [rates]), forecastLine(forecast(copying, progress)));
    }
    this.#say(subject, parts.join('; '), phase);
  }

  #say(subject: string, text: string, phase = text): void {
    const last = this.#said.get(subject);
    const at = this.#now();
    if (last?.text === text) return;
    if (last?.phase === phase && at - last.at < LINE_INTERVAL_MS) return;
    this.#said.set(subject, { text, phase, at });
    this.#write(`${new Date(at).toISOString()} ${printable(`${subject}: ${text}`)}`);
  }

  /** VMs that are there no more. */
  #forget(prefix: string, there: ReadonlySet<string>): void {
    for (const subject of [...this.#said.keys()]) {
      if (!subject.startsWith(prefix) || there.has(subject.slice(prefix.length))) continue;
      this.#say(subject, 'gone');
      this.#said.delete(subject);
    }
  }
}
