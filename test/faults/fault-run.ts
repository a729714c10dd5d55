import type { GuestInfo, MigrationResult } from '../../shared/api.js';
import { eventually } from './eventually.js';
import { FaultInjection, type Injected } from './fault-injection.js';
import { type FaultPair, NODES, type NodeName, otherNode } from './fault-pair.js';
import type { Plan } from './fault-plan.js';
import { userfaultfdTraces } from './held-files.js';
import { takeBack } from './take-back.js';
import type { Subject } from './subjects.js';

/** What came of one run. */
export interface RunReport {
  readonly plan: Plan;
  /** The faults that happened: a step that is not reached has none. */
  readonly injected: readonly Injected[];
  readonly outcome: string;
  /** From the end of the last fault until all was decided. ms */
  readonly settleMs: number;
  readonly ms: number;
  readonly violations: readonly string[];
}

/** How long it may take until all is decided once nothing is wrong any more: OPERATIONS.md has what bounds it. ms */
const SETTLE_LIMIT_MS = 90_000;

/** How long what is over may take to be cleared away. ms */
const CLEAR_LIMIT_MS = 15_000;

/** The guests write faster than they can be copied: as long as that is, no longer. */
const OPTIONS = { maxRounds: 2, maxDowntimeMs: 30 } as const;

/** One migration in which things go wrong, and what must hold after it, up to the end of its guest. */
export async function runPlan(pair: FaultPair, subject: Subject, plan: Plan): Promise<RunReport> {
  return await new FaultRun(pair, subject, plan).report();
}

class FaultRun {
  readonly #pair: FaultPair;
  readonly #subject: Subject;
  readonly #plan: Plan;
  readonly #vm: string;
  readonly #violations: string[] = [];
  #wasUnknown = false;
  #heldChecked = false;
  #takenBack = false;

  constructor(pair: FaultPair, subject: Subject, plan: Plan) {
    this.#pair = pair;
    this.#subject = subject;
    this.#plan = plan;
    this.#vm = `guest-${plan.seed}`;
  }

  async report(): Promise<RunReport> {
    const { plan } = this;
    const startedAt = performance.now();
    let injection: FaultInjection | null = null;
    let outcome = 'broken off';
    let settleMs = 0;
    try {
      this.#pair.begin();
      await this.#subject.boot(this.#pair, plan.from, this.#vm);
      injection = new FaultInjection(this.#pair, plan);
      const result = await this.#migrateFaultily(injection);
      if (injection.lost) await this.#operate(injection.lost);
      this.#violations.push(...(await injection.over()));
      const mendedAt = performance.now();
      this.#violations.push(...(await eventually(SETTLE_LIMIT_MS, () => this.#unsettled())));
      settleMs = performance.now() - mendedAt;
      this.#violations.push(...this.#pair.ended);
      if (this.#violations.length === 0) outcome = await this.#judge(result, injection);
      this.#violations.push(...this.#pair.defects);
    } catch (error) {
      this.#violations.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
    } finally {
      this.#pair.link.mend();
    }
    return {
      plan,
      injected: injection?.injected ?? [],
      outcome: this.#violations.length > 0 ? 'VIOLATION' : outcome,
      settleMs,
      ms: performance.now() - startedAt,
      violations: this.#violations,
    };
  }

  get plan(): Plan {
    return this.#plan;
  }

  /** Null if nobody is there to tell the result; the error of a request that was not accepted. */
  async #migrateFaultily(injection: FaultInjection): Promise<MigrationResult | Error | null> {
    const { from, verify, streams } = this.#plan;
    const client = this.#pair.client(from);
    let id: string;
    try {
      const options = { ...OPTIONS, verify, streams };
      ({ id } = await client.startMigration({ vm: this.#vm, to: otherNode(from), options }));
    } catch (error) {
      return this.#pair.killed.has(from) ? null : (error as Error);
    }
    injection.accepted(id);
    try {
      for await (const event of client.migrationEvents(id, -1, new AbortController().signal)) {
        if (event.event === 'phase') injection.entered(event.phase);
        if (event.event !== 'ended') continue;
        injection.entered('ended');
        return event.result;
      }
    } catch (error) {
      if (!this.#pair.killed.has(from)) throw error;
    }
    return null;
  }

  /** The target does not come back by itself. Its operator settles what is open, and only then brings it back. */
  async #operate(lost: NodeName): Promise<void> {
    const pair = this.#pair;
    const { from } = this.#plan;
    const held = (await pair.client(from).guests()).find(({ status }) => status === 'unknown');
    if (held) {
      await this.#lookAtHeld(from, held);
      this.#violations.push(...(await takeBack(pair, this.#vm, from)));
      this.#takenBack = true;
      return;
    }
    if (pair.isUp(lost)) pair.agent(lost).process.kill('SIGCONT');
    else await pair.restart(lost);
  }

  /** What is not decided yet. */
  async #unsettled(): Promise<string[]> {
    const undecided: string[] = [];
    const running: string[] = [];
    for (const node of NODES) {
      const { guests, migrations } = await this.#pair.client(node).status();
      for (const guest of guests) {
        if (guest.status === 'unknown') await this.#lookAtHeld(node, guest);
        if (guest.status === 'running') running.push(node);
        if (guest.migration !== null) undecided.push(`node ${node}: VM ${guest.name} is ${guest.status}`);
      }
      for (const { id, phase, role } of migrations) {
        if (phase !== 'ended') undecided.push(`node ${node}: migration ${id} as ${role} is ${phase}`);
      }
      const queue = await this.#pair.client(node).queue();
      for (const { migration } of queue)
        undecided.push(`node ${node}: ${migration} has a place in the queue`);
    }
    // The first was asked first: it still runs if there are two.
    const [first] = running;
    if (running.length > 1 && (await this.#statusOn(first as NodeName)) === 'running') {
      this.#violations.push('the guest runs on both nodes');
    }
    return undecided;
  }

  async #statusOn(node: NodeName): Promise<string | undefined> {
    const guests = await this.#pair.client(node).guests();
    return guests.find(({ name }) => name === this.#vm)?.status;
  }

  /** One whose outcome is not known stands still, and nobody can let it run. */
  async #lookAtHeld(node: NodeName, before: GuestInfo): Promise<void> {
    this.#wasUnknown = true;
    if (this.#heldChecked) return;
    this.#heldChecked = true;
    const client = this.#pair.client(node);
    const resumed = await client.changeGuest(this.#vm, 'resume').then(
      () => true,
      () => false,
    );
    const after = await client.guest(this.#vm).catch(() => null);
    if (after?.status !== 'unknown') return;
    if (resumed) this.#violations.push('a guest whose outcome is unknown could be resumed');
    // Once the answer has come its machine is ended, and has no console: one that is still there must not have printed.
    if (after.writeLog !== null && after.consoleBytes !== before.consoleBytes) {
      this.#violations.push('a guest whose outcome is unknown runs');
    }
  }

  /** All is decided: checks that it was decided well. Returns the outcome in words. */
  async #judge(result: MigrationResult | Error | null, injection: FaultInjection): Promise<string> {
    const { from } = this.#plan;
    const places: { node: NodeName; guest: GuestInfo }[] = [];
    for (const node of NODES) {
      for (const guest of await this.#pair.client(node).guests()) places.push({ node, guest });
    }
    const [place] = places;
    if (places.length !== 1 || !place) {
      const found = places.map(({ node, guest }) => `${guest.status} on ${node}`).join(', ');
      this.#violations.push(`not one guest but ${places.length}: ${found || 'it is nowhere'}`);
      return '';
    }
    const { node, guest } = place;
    this.#checkAgreement(result, node);
    const lost = this.#lostWith(guest, node, injection);
    if (lost === null && guest.status !== 'running') {
      this.#violations.push(`the guest is ${guest.status} on ${node} (${guest.failure ?? 'no failure'})`);
      return '';
    }
    if (this.#violations.length === 0) await this.#goOn(node, lost !== null);
    const where = this.#takenBack ? 'taken back' : node === from ? 'stays' : 'moved';
    const words =
      result instanceof Error
        ? 'refused, stays'
        : result?.outcome === 'cancelled'
          ? 'cancelled, stays'
          : where;
    const unknown = this.#wasUnknown || (!(result instanceof Error) && result?.outcome === 'unknown');
    return `${unknown ? 'held, then ' : ''}${words}${lost === null ? '' : `, lost with its ${lost}`}`;
  }

  /** What was told of the outcome must be so. */
  #checkAgreement(result: MigrationResult | Error | null, node: NodeName): void {
    const { from } = this.#plan;
    if (result === null) return;
    const said = result instanceof Error ? 'refused' : result.outcome;
    if (said === 'unknown') return;
    const expected = said === 'completed' ? otherNode(from) : from;
    if (node !== expected)
      this.#violations.push(`the migration was ${said}, and the guest is on node ${node}`);
    if (!(result instanceof Error) && result.verify.mismatches > 0) {
      this.#violations.push(`${result.verify.mismatches} pages differed`);
    }
  }

  /** What the guest was lost with, where it could not but be. */
  #lostWith(guest: GuestInfo, node: NodeName, { bereft }: FaultInjection): 'agent' | 'QEMU' | null {
    if (bereft.has(node) && (guest.failure !== null || guest.status === 'stopped')) return 'QEMU';
    const dies = this.#subject.kind === 'embedded' && this.#pair.killed.has(node);
    return dies && guest.status === 'stopped' ? 'agent' : null;
  }

  /** The guest is right, can be migrated again, is right there as well, and leaves nothing behind. */
  async #goOn(node: NodeName, lost: boolean): Promise<void> {
    const pair = this.#pair;
    const violations = this.#violations;
    if (lost) {
      await pair.client(node).changeGuest(this.#vm, 'stop');
      await pair.client(node).changeGuest(this.#vm, 'start');
    }
    for (const pid of pair.qemu?.qemus(node) ?? []) violations.push(...(await userfaultfdTraces(pid)));
    violations.push(...(await this.#subject.defects(pair, node, this.#vm)));
    if (violations.length > 0) return;

    const to = otherNode(node);
    const again = await pair.lab.migrate(this.#vm, node, to, { ...OPTIONS, verify: 'strict' });
    if (again.outcome !== 'completed' || again.error !== null || again.verify.mismatches > 0) {
      const { outcome, error, verify } = again;
      violations.push(`migrated again: ${JSON.stringify({ outcome, error, verify })}`);
      return;
    }
    violations.push(...(await this.#subject.defects(pair, to, this.#vm)));
    await pair.client(to).changeGuest(this.#vm, 'stop');
    await pair.client(to).undefineGuest(this.#vm);
    violations.push(...(await eventually(CLEAR_LIMIT_MS, () => pair.remains())));
  }
}
