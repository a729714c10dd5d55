import { setImmediate } from 'node:timers/promises';
import type { Logger } from 'pino';
import { MigrationError } from '../../../shared/errors.js';
import type { QemuDefinition } from '../../../shared/guest-definition.js';
import type { Run } from '../../../shared/page.js';
import { unixNow } from '../../../shared/unix-clock.js';
import type { GuestState, Region, StateSink, WriteLog } from '../guest.js';
import type { GuestConsole, HostedGuest } from '../hosted-guest.js';
import { activateDisksOnLoad, announce, loadState } from './loading-state.js';
import type { GuestRecord } from './process/guest-record.js';
import { removeRamFiles } from './process/ram-files.js';
import type { RunDirectory } from './process/run-directory.js';
import { NO_CONSOLE, type QemuConsole } from './qemu-console.js';
import type { QemuControl } from './qemu-control.js';
import type { QemuMemory } from './qemu-memory.js';
import { decodeQemuState, type QemuCondition, QemuStateEncoder } from './qemu-state.js';
import type { QmpConnection } from './qmp/qmp-connection.js';
import type { RunState } from './run-state.js';
import { SavingState } from './saving-state.js';

/** For a QEMU that was asked to quit. ms */
const QUIT_MS = 3_000;

/** What a QEMU guest is made of: a running QEMU and what the agent holds of it. */
export interface QemuGuestParts {
  readonly record: GuestRecord;
  readonly directory: RunDirectory;
  readonly control: QemuControl;
  readonly memory: QemuMemory;
  readonly console: QemuConsole | null;
  readonly writeLog: WriteLog;
  readonly run: RunState;
  readonly logger: Logger;
}

/** A virtual machine in a QEMU process that outlives the agent. */
export class QemuGuest implements HostedGuest {
  readonly writeLog: WriteLog;
  readonly console: GuestConsole;
  readonly #directory: RunDirectory;
  readonly #control: QemuControl;
  readonly #memory: QemuMemory;
  readonly #ownConsole: QemuConsole | null;
  readonly #logger: Logger;
  readonly #saving: SavingState;
  readonly #run: RunState;
  readonly #listeners = new Set<() => void>();
  #record: GuestRecord;
  /** Takes the state that is being saved. */
  #encoder: QemuStateEncoder | null = null;
  #failure: MigrationError | null = null;
  /** It may stand still for other reasons than that its operator wants it to. */
  #unsettled = false;
  /** It came by a migration and has not run here yet. */
  #arrived: boolean;
  #ending: Promise<void> | null = null;

  constructor(parts: QemuGuestParts) {
    this.#record = parts.record;
    this.#directory = parts.directory;
    this.#control = parts.control;
    this.#memory = parts.memory;
    this.#ownConsole = parts.console;
    this.#logger = parts.logger;
    this.#arrived = parts.record.incoming !== null;
    this.#run = parts.run;
    this.#run.onChange = () => this.#changed();
    this.#saving = new SavingState(parts.control, parts.directory.stateSocket);
    this.writeLog = parts.writeLog;
    this.console = parts.console ?? NO_CONSOLE;
    void this.#control.lost.then((failure) => {
      this.#failure = failure;
      // One that lives runs on, whether it can be talked to or not.
      if (this.state === 'running' && !this.#control.process.alive) this.#run.state = 'paused';
      this.#changed();
    });
  }

  get definition(): QemuDefinition {
    return this.#record.definition;
  }

  get regions(): readonly Region[] {
    return this.#memory.regions;
  }

  get state(): GuestState {
    return this.#run.state;
  }

  get failure(): MigrationError | null {
    return this.#failure;
  }

  get pid(): number {
    return this.#control.process.pid;
  }

  get qmp(): QmpConnection {
    return this.#control.qmp;
  }

  /** The files of its memory, as /proc/PID/maps knows them. */
  get memoryFiles(): readonly { device: number; inode: number }[] {
    return this.#memory.tracked;
  }

  figures(): Record<string, number | string | null> {
    return { pid: this.pid, residentBytes: this.#control.process.residentBytes(), accel: this.#record.accel };
  }

  onChange(listener: () => void): () => void {
    const receiver = () => listener();
    this.#listeners.add(receiver);
    return () => {
      this.#listeners.delete(receiver);
    };
  }

  populated(): Promise<Run[]> {
    return this.#memory.populated();
  }

  async pause(): Promise<void> {
    await this.#control.execute('stop');
    this.#want(this.state);
  }

  async resume(): Promise<number> {
    if (this.state === 'finished') return unixNow();
    if (this.#unsettled) await this.#saving.cancel();
    if (this.state !== 'running') await this.#letRun();
    this.#unsettled = false;
    this.#want('running');
    return this.#run.runningSince;
  }

  async pauseForSwitchover(state: StateSink): Promise<number> {
    await this.#saving.cancel();
    await this.#forgetMigration();
    this.#want(this.state);
    this.#unsettled = true;
    const ran = this.state === 'running';
    const encoder = new QemuStateEncoder(state);
    this.#encoder = encoder;
    const haltedAt = await this.#saving.begin((bytes) => encoder.stream(bytes));
    // The devices follow.
    encoder.flush();
    return ran ? this.#run.stoppedAt : haltedAt;
  }

  async saveState(): Promise<void> {
    await this.#saving.finish();
    this.#encoder?.end({
      condition: this.state === 'finished' ? 'finished' : this.#record.wanted,
      consoleEnd: this.console.end,
      consoleTail: this.#ownConsole?.tail() ?? new Uint8Array(),
    });
    this.#encoder = null;
  }

  async settle(): Promise<void> {
    if (!this.#unsettled) return;
    await this.#saving.cancel();
    await this.#run.refresh();
    const runs = this.#record.wanted === 'running' && this.#record.incoming === null;
    if (runs && this.state === 'paused') await this.#letRun();
    this.#unsettled = false;
  }

  async loadState(state: AsyncIterable<Uint8Array>): Promise<void> {
    await loadState(this.#control, this.#directory.stateSocket, this.#streamOf(state));
    this.#run.state = this.#record.wanted === 'finished' ? 'finished' : 'paused';
  }

  async own(): Promise<void> {
    this.#record = { ...this.#record, incoming: null };
    // Not in the turn of who tells it, which may be the one that lets the guest run.
    await setImmediate();
    this.#directory.write(this.#record);
  }

  /** Makes the guest, which an earlier agent has left in whatever state, one that settle() has to look at. */
  unsettle(): void {
    this.#unsettled = true;
  }

  detach(): Promise<void> {
    this.#control.release();
    this.#ending ??= this.#letGo();
    return this.#ending;
  }

  async disown(): Promise<void> {
    await this.#saving.restore();
    await this.detach();
    await this.#directory.remove();
  }

  destroy(): Promise<void> {
    this.#ending ??= this.#destroy().catch((error: unknown) => {
      // One that could not be ended may be another time.
      this.#ending = null;
      throw error;
    });
    return this.#ending;
  }

  async #destroy(): Promise<void> {
    const { process, qmp } = this.#control;
    this.#run.end();
    this.#control.quit();
    await process.watch(qmp.closed ? 0 : QUIT_MS);
    this.#control.release();
    try {
      await process.terminate();
    } finally {
      await this.#letGo();
    }
    await removeRamFiles(this.#record.ramFiles);
    await this.#directory.remove();
  }

  async #letGo(): Promise<void> {
    this.#listeners.clear();
    this.#saving.close();
    try {
      await this.writeLog.stop();
    } catch (error) {
      this.#logger.debug({ err: error }, 'the write-log of a guest that is let go could not be ended');
    }
    this.#ownConsole?.close();
    this.#memory.release();
  }

  /** Lets the virtual CPUs run. After a migration that took the disks away this takes them back. */
  async #letRun(): Promise<void> {
    await this.#control.execute('cont');
    if (this.state !== 'running') {
      const text = `VM ${this.definition.name} does not run though QEMU was told to let it: see ${this.#directory.qemuLog}`;
      throw new MigrationError('guest-failed', text);
    }
    if (!this.#arrived) return;
    this.#arrived = false;
    announce(this.#control).catch((error: unknown) => {
      this.#logger.warn({ err: error }, 'the guest could not be announced to the network');
    });
  }

  /**
   * A QEMU whose guest was saved and stands still since refuses to save it again until it has run. It runs for the moment
   * between the two commands, a few ms: nothing less makes QEMU forget.
   */
  async #forgetMigration(): Promise<void> {
    const { status } = (await this.#control.execute('query-status')) as { status: string };
    if (status !== 'postmigrate') return;
    await this.#run.ignoring(async () => {
      await Promise.all([this.#control.execute('cont'), this.#control.execute('stop')]);
    });
  }

  /** QEMU's stream out of a state; what else is in it is taken to heart. */
  async *#streamOf(state: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    for await (const part of decodeQemuState(state)) {
      if (part.type === 'stream') yield part.bytes;
      else await this.#takeCondition(part);
    }
    // QEMU loads the last of it meanwhile.
    this.#directory.write(this.#record);
  }

  async #takeCondition({ condition, consoleEnd, consoleTail }: QemuCondition): Promise<void> {
    if (condition !== 'running') await activateDisksOnLoad(this.#control);
    this.#ownConsole?.load(consoleEnd, consoleTail);
    const consoleBase = this.#ownConsole?.start ?? null;
    this.#record = { ...this.#record, wanted: condition, consoleBase };
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  #want(wanted: GuestState): void {
    if (this.#record.wanted === wanted) return;
    this.#record = { ...this.#record, wanted };
    this.#directory.write(this.#record);
  }
}
