import type { Guest, GuestState, Region, StateSink, WriteLog } from '../../agent/guest/guest.js';
import type { HostedGuest, IncomingHostedGuest } from '../../agent/guest/hosted-guest.js';
import { wholeState } from '../../agent/guest/whole-state.js';
import { zeroPieces } from '../../agent/guest/zero-pages.js';
import { MigrationError } from '../../shared/errors.js';
import type { GuestDefinition } from '../../shared/guest-definition.js';
import { PAGE_SIZE, type Run, unionRuns } from '../../shared/page.js';
import { unixNow } from '../../shared/unix-clock.js';

/** A definition that stands for any: the engine does not look inside. */
export function definitionOf(name: string): GuestDefinition {
  return { name, kind: 'embedded', memory: 2 ** 20, program: 'idle', parameters: {} };
}

/** Calls recorded in order, and calls told to fail, by name. */
export type GuestCall =
  | 'start'
  | 'harvest'
  | 'confirm'
  | 'stop'
  | 'populated'
  | 'pause'
  | 'settle'
  | 'resume'
  | 'save'
  | 'load'
  | 'destroy';

/** A guest whose memory is plain arrays and whose writes the test scripts; it keeps a log of what is asked of it. */
export class ArrayGuest implements Guest {
  readonly definition: GuestDefinition;
  readonly regions: readonly Region[];
  readonly calls: GuestCall[] = [];
  readonly failing = new Set<GuestCall>();
  /** Called before each harvest of a running guest, with its number: the guest's writes of that round. */
  onHarvest: (harvest: number) => void = () => undefined;
  state: GuestState = 'running';
  failure: Error | null = null;
  deviceState: Uint8Array = new Uint8Array([1, 2, 3]);
  /** How much of it is saved before the guest stands still. bytes */
  earlyBytes = 1;
  loadedState: Uint8Array | null = null;
  destroyed = false;
  #written: Run[] = [];
  #tracking = false;
  #harvests = 0;
  #resumeToSettle = false;
  #stateSink: StateSink = () => undefined;
  readonly #changes = new Set<() => void>();

  constructor(name: string, ...pagesOfRegions: number[]) {
    this.regions = pagesOfRegions.map((pages, index) => ({
      name: `ram${index}`,
      memory: new Uint8Array(new SharedArrayBuffer(pages * PAGE_SIZE)),
    }));
    this.definition = definitionOf(name);
  }

  /** What a running guest does: writes `value` over all of a page. Throws when it must not run. */
  write(region: number, page: number, value: number, track = true): void {
    if (this.state !== 'running') throw new Error('a guest that does not run has written');
    this.regions[region]!.memory.fill(value, page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
    if (this.#tracking && track) this.#written.push({ region, firstPage: page, pageCount: 1 });
  }

  readonly writeLog: WriteLog = {
    kind: 'scripted',
    reason: 'a test',
    start: () => this.#call('start', () => {
      this.#tracking = true;
      this.#written = [];
    }),
    harvest: () => this.#call('harvest', () => {
      if (this.state === 'running') this.onHarvest(this.#harvests);
      this.#harvests += 1;
      const written = unionRuns(this.#written);
      this.#written = [];
      return written;
    }),
    confirm: () => {
      this.calls.push('confirm');
      if (this.failing.has('confirm')) throw new MigrationError('tracking-failed', 'confirm was told to fail');
    },
    stop: () => this.#call('stop', () => void (this.#tracking = false)),
  }; // prettier-ignore

  get tracking(): boolean {
    return this.#tracking;
  }

  populated(): Promise<Run[]> {
    return this.#call('populated', () =>
      unionRuns(
        this.regions.flatMap(({ memory }, region) =>
          [...zeroPieces(memory, 0, memory.length / PAGE_SIZE)]
            .filter(({ zero }) => !zero)
            .map(({ firstPage, pageCount }) => ({ region, firstPage, pageCount })),
        ),
      ),
    );
  }

  pause(): Promise<void> {
    return this.#call('pause', () => void (this.state = 'paused'));
  }

  pauseForSwitchover(state: StateSink): Promise<number> {
    const ran = this.state === 'running';
    return this.#call('pause', () => {
      this.#stateSink = state;
      if (this.earlyBytes > 0) state(this.deviceState.subarray(0, this.earlyBytes));
      if (ran) this.state = 'paused';
      this.#resumeToSettle ||= ran;
      return unixNow();
    });
  }

  settle(): Promise<void> {
    return this.#call('settle', () => {
      if (this.#resumeToSettle) this.state = 'running';
      this.#resumeToSettle = false;
    });
  }

  resume(): Promise<number> {
    return this.#call('resume', () => {
      if (this.state === 'paused') this.state = 'running';
      return unixNow();
    });
  }

  onChange(listener: () => void): () => void {
    this.#changes.add(listener);
    return () => void this.#changes.delete(listener);
  }

  /** The machine dies. */
  die(reason: string): void {
    this.failure = new MigrationError('guest-failed', reason);
    this.state = 'paused';
    this.changed();
  }

  protected changed(): void {
    for (const listener of [...this.#changes]) listener();
  }

  saveState(): Promise<void> {
    return this.#call('save', () => this.#stateSink(this.deviceState.subarray(this.earlyBytes)));
  }

  async loadState(state: AsyncIterable<Uint8Array>): Promise<void> {
    this.loadedState = await this.#call('load', () => wholeState(state));
  }

  destroy(): Promise<void> {
    return this.#call('destroy', () => {
      this.destroyed = true;
      this.state = 'paused';
    });
  }

  async #call<T>(name: GuestCall, effect: () => T | Promise<T>): Promise<T> {
    this.calls.push(name);
    await Promise.resolve();
    if (this.failing.has(name)) throw new MigrationError('guest-failed', `${name} was told to fail`);
    return await effect();
  }
}

/** A guest that a migration brings, whose machine has started already. */
export function started(guest: HostedGuest): IncomingHostedGuest {
  return { regions: guest.regions, machine: Promise.resolve(guest), destroy: () => guest.destroy() };
}

/** Saves the state of a guest that is paused for it, in the pieces in which it is handed out. */
export async function savedState(guest: Guest): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  await guest.pauseForSwitchover((piece) => pieces.push(piece));
  await guest.saveState();
  return pieces;
}

/** A state as it arrives: with `failure`, which it ends with instead of being whole. */
// eslint-disable-next-line @typescript-eslint/require-await -- pieces come one after the other from a link
export async function* arriving(pieces: readonly Uint8Array[], failure?: Error): AsyncGenerator<Uint8Array> {
  yield* pieces;
  if (failure) throw failure;
}
