import { setTimeout as delay } from 'node:timers/promises';
import type { MigrationPhase } from '../../shared/api.js';
import { type FaultPair, type NodeName, otherNode } from './fault-pair.js';
import {
  type Fault,
  type Moment,
  nameOf,
  type Plan,
  type PlannedFault,
  STEP_MESSAGES,
} from './fault-plan.js';
import { messageMarker, type Passing } from './link-proxy.js';

/** A fault that has happened. */
export interface Injected {
  readonly fault: string;
  /** Of the migration, as far as the harness knew at that moment. */
  readonly phase: MigrationPhase | 'preflight';
}

/** Lets the faults of a plan happen in their moments, and mends what they broke. */
export class FaultInjection {
  readonly injected: Injected[] = [];
  /** Nodes whose QEMU was killed. */
  readonly bereft = new Set<NodeName>();
  /** The node whose agent is gone for good, as far as the other one can know. */
  lost: NodeName | null = null;
  readonly #pair: FaultPair;
  readonly #plan: Plan;
  #armed = true;
  #migration: string | null = null;
  #phase: MigrationPhase | 'preflight' = 'preflight';
  readonly #due = new Set<PlannedFault>();
  readonly #mending = new Set<Promise<void>>();
  readonly #failures: string[] = [];

  constructor(pair: FaultPair, plan: Plan) {
    this.#pair = pair;
    this.#plan = plan;
    for (const planned of plan.faults) this.#arm(planned);
  }

  /** The migration was accepted. */
  accepted(migration: string): void {
    this.#migration = migration;
  }

  /** The source's event stream names a phase. */
  entered(phase: MigrationPhase): void {
    this.#phase = phase;
    for (const planned of [...this.#due]) {
      if (planned.moment.at === 'phase' && planned.moment.phase === phase) this.#injectNow(planned);
    }
  }

  /** Nothing more happens than what has; resolves once that is mended, with what could not be. */
  async over(): Promise<string[]> {
    // What is due a moment after the fault before it may come after the migration.
    while (this.#mending.size > 0) await Promise.all(this.#mending);
    this.#armed = false;
    this.#due.clear();
    this.#pair.link.mend();
    return this.#failures;
  }

  #arm(planned: PlannedFault): void {
    const { moment } = planned;
    this.#due.add(planned);
    if (moment.at === 'phase' || moment.at === 'then') return;
    const marker = moment.at === 'message' ? messageMarker(moment.type) : null;
    this.#pair.link.traps.add({
      find: (passing) =>
        moment.at === 'byte' ? this.#findByte(moment, passing) : find(moment, marker!, passing),
      spring: async () => {
        if (moment.at === 'message') this.#phase = STEP_MESSAGES[moment.type];
        this.#injectNow(planned);
        // What was to die is dead before anything else is delivered.
        await Promise.resolve();
      },
    });
  }

  #findByte(
    moment: Extract<Moment, { at: 'byte' }>,
    { carried, sender, position, bytes }: Passing,
  ): number | null {
    if (carried.purpose !== moment.purpose || sender !== this.#node(moment.sender)) return null;
    const at = moment.position - position;
    return at >= 0 && at < bytes.length ? at : null;
  }

  #node(side: 'source' | 'target'): NodeName {
    return side === 'source' ? this.#plan.from : otherNode(this.#plan.from);
  }

  #injectNow(planned: PlannedFault): void {
    if (!this.#armed || !this.#due.delete(planned)) return;
    const mend = this.#inject(planned.fault);
    if (mend === null) return;
    this.injected.push({ fault: nameOf(planned.fault), phase: this.#phase });
    const forMs = 'forMs' in planned.fault ? planned.fault.forMs : 0;
    this.#mendLater(async () => {
      await delay(forMs);
      await mend();
    });
    const next = this.#plan.faults[this.#plan.faults.indexOf(planned) + 1];
    if (next?.moment.at !== 'then') return;
    const { afterMs } = next.moment;
    this.#mendLater(async () => {
      await delay(afterMs);
      this.#injectNow(next);
    });
  }

  #mendLater(mend: () => Promise<void>): void {
    const mending = mend()
      .catch((error: unknown) => void this.#failures.push(`could not be mended: ${String(error)}`))
      .finally(() => this.#mending.delete(mending));
    this.#mending.add(mending);
  }

  /** Returns how to mend it; null where there was nothing that could go wrong. */
  #inject(fault: Fault): (() => Promise<void>) | null {
    const { link } = this.#pair;
    const nothing = () => Promise.resolve();
    switch (fault.do) {
      case 'cut':
        link.cut(fault.scope);
        if (fault.scope !== 'link') return nothing;
        link.refusing = true;
        return () => Promise.resolve(void (link.refusing = false));
      case 'half-close':
        link.closeHalf(fault.scope, this.#node(fault.by));
        return nothing;
      case 'stall': {
        const end = link.stall(fault.scope);
        return () => Promise.resolve(end());
      }
      case 'delay':
        link.latencyMs = fault.latencyMs;
        return () => Promise.resolve(void (link.latencyMs = 0));
      case 'crawl':
        link.bytesPerSecond = fault.bytesPerSecond;
        return () => Promise.resolve(void (link.bytesPerSecond = Infinity));
      case 'kill-agent':
        return this.#killAgent(this.#node(fault.side));
      case 'stop-agent':
        return this.#stopAgent(this.#node(fault.side));
      case 'kill-qemu': {
        const node = this.#node(fault.side);
        if (signal(this.#qemus(node), 'SIGKILL') === 0) return null;
        this.bereft.add(node);
        return nothing;
      }
      case 'stop-qemu': {
        const pids = this.#qemus(this.#node(fault.side));
        if (signal(pids, 'SIGSTOP') === 0) return null;
        return () => Promise.resolve(void signal(pids, 'SIGCONT'));
      }
      case 'lose-target': {
        const node = this.#node('target');
        const done = fault.how === 'kill' ? this.#killAgent(node) : this.#stopAgent(node);
        if (done === null) return null;
        this.lost = node;
        return nothing;
      }
      case 'cancel': {
        if (this.#migration === null || !this.#pair.isUp(this.#plan.from)) return null;
        // It may be too late, or the agent may be killed meanwhile: the result tells.
        const asked = this.#pair
          .client(this.#plan.from)
          .cancelMigration(this.#migration)
          .then(nothing, nothing);
        return () => asked;
      }
    }
  }

  #killAgent(node: NodeName): (() => Promise<void>) | null {
    if (!this.#pair.isUp(node)) return null;
    const killed = this.#pair.kill(node);
    return async () => {
      await killed;
      await this.#pair.restart(node);
    };
  }

  #stopAgent(node: NodeName): (() => Promise<void>) | null {
    if (!this.#pair.isUp(node)) return null;
    const { process } = this.#pair.agent(node);
    process.kill('SIGSTOP');
    return () => Promise.resolve(void process.kill('SIGCONT'));
  }

  #qemus(node: NodeName): number[] {
    return this.#pair.qemu?.qemus(node) ?? [];
  }
}

function find(
  moment: Extract<Moment, { at: 'message' }>,
  marker: Buffer,
  { carried, bytes }: Passing,
): number | null {
  if (!carried.migrates || !bytes.includes(marker)) return null;
  return moment.when === 'before' ? 0 : bytes.length;
}

/** Returns how many processes there were to send it to. */
function signal(pids: readonly number[], name: NodeJS.Signals): number {
  return pids.filter((pid) => {
    try {
      return process.kill(pid, name);
    } catch {
      // it has ended meanwhile
      return false;
    }
  }).length;
}
