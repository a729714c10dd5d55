import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { AgentConfig } from '../../../../shared/config.js';
import { MigrationError } from '../../../../shared/errors.js';
import { validate } from '../../../../shared/validate.js';
import { hasCode } from '../../../system/system-call-error.js';
import { complaints } from './complaints.js';
import { type GuestRecord, GuestRecordSchema } from './guest-record.js';

/** Longest path of a unix socket, without its final zero: sun_path in unix(7). bytes */
const MAX_SOCKET_PATH_BYTES = 107;

/** Characters of QEMU's own messages that an error quotes, from their end. */
const QUOTED_CHARACTERS = 500;

/** What a guest's directory may hold. */
const FILES = {
  qmpSocket: 'qmp.sock',
  consoleSocket: 'console.sock',
  consoleLog: 'console.log',
  stateSocket: 'state.sock',
  qemuLog: 'qemu.log',
  record: 'guest.json',
  unfinishedRecord: 'guest.json.new',
};

/** Where an agent has the directories of its guests; absolute, since QEMU is told paths of it and runs in another directory. */
export function runDirectoryOf({ runDirectory, stateDirectory }: AgentConfig): string {
  return resolve(runDirectory ?? join(stateDirectory, 'run'));
}

/**
 * The directory of one guest's QEMU: sockets, console, what QEMU says, and the record by which a restarted agent finds the
 * guest. Its files are of use on this host and in this boot of it alone, so nothing is synced to the disk.
 */
export class RunDirectory {
  readonly path: string;
  /** Where QEMU listens for QMP. */
  readonly qmpSocket: string;
  readonly consoleSocket: string;
  readonly consoleLog: string;
  /** Where the agent takes what QEMU saves, or QEMU takes what it is to load. */
  readonly stateSocket: string;
  /** What QEMU writes to its standard output and error. */
  readonly qemuLog: string;

  constructor(runDirectory: string, vm: string) {
    this.path = join(runDirectory, vm);
    this.qmpSocket = join(this.path, FILES.qmpSocket);
    this.consoleSocket = join(this.path, FILES.consoleSocket);
    this.consoleLog = join(this.path, FILES.consoleLog);
    this.stateSocket = join(this.path, FILES.stateSocket);
    this.qemuLog = join(this.path, FILES.qemuLog);
  }

  /** Makes the directory, with nothing in it. Throws guest-failed. */
  async create(): Promise<void> {
    const bytes = Buffer.byteLength(this.consoleSocket);
    if (bytes > MAX_SOCKET_PATH_BYTES) {
      const text =
        `${this.consoleSocket} has ${bytes} bytes and a unix socket's path at most ${MAX_SOCKET_PATH_BYTES}: ` +
        'configure a shorter runDirectory';
      throw new MigrationError('guest-failed', text);
    }
    try {
      await this.remove();
      await mkdir(this.path, { recursive: true, mode: 0o700 });
    } catch (error) {
      const text = `the run directory ${this.path} can't be made: ${(error as Error).message}; see runDirectory`;
      throw new MigrationError('guest-failed', text, { cause: error });
    }
  }

  /** Whether there is a record. */
  get recorded(): boolean {
    return existsSync(this.#record);
  }

  /**
   * At once: a guest that stands still waits for it, and a kilobyte that is not synced takes a tenth of a millisecond, where
   * every step that is left to another thread takes as long.
   */
  write(record: GuestRecord): void {
    const unfinished = join(this.path, FILES.unfinishedRecord);
    writeFileSync(unfinished, JSON.stringify(record, null, 2) + '\n', { mode: 0o600 });
    renameSync(unfinished, this.#record);
  }

  /** Throws guest-failed where the record is missing or not readable. */
  async read(): Promise<GuestRecord> {
    try {
      const value: unknown = JSON.parse(await readFile(this.#record, 'utf8'));
      return validate(GuestRecordSchema, value, 'guest-failed', this.#record);
    } catch (error) {
      if (error instanceof MigrationError) throw error;
      const text = `${this.#record} is not readable: ${(error as Error).message}`;
      throw new MigrationError('guest-failed', text, { cause: error });
    }
  }

  /** The last of what QEMU has said on its standard error; empty where it said nothing. */
  lastWords(): string {
    try {
      return complaints(readFileSync(this.qemuLog, 'utf8')).trim().slice(-QUOTED_CHARACTERS);
    } catch {
      return '';
    }
  }

  /** Whether an agent of this user has made it, by all that there is to see. */
  async isOurs(): Promise<boolean> {
    const { uid, mode } = await stat(this.path);
    return uid === process.geteuid!() && (mode & 0o777) === 0o700 && (await this.#strangeFile()) === null;
  }

  /**
   * Harmless when repeated. Throws guest-failed where something else than a guest's files is there: a run directory can be configured
   * by mistake that others use.
   */
  async remove(): Promise<void> {
    const strange = await this.#strangeFile();
    if (strange !== null) {
      const text = `${join(this.path, strange)} is none of a VM's files: move it away, or configure another runDirectory`;
      throw new MigrationError('guest-failed', text);
    }
    await rm(this.path, { recursive: true, force: true });
  }

  async #strangeFile(): Promise<string | null> {
    try {
      const names = Object.values(FILES);
      return (await readdir(this.path)).find((name) => !names.includes(name)) ?? null;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return null;
      throw error;
    }
  }

  get #record(): string {
    return join(this.path, FILES.record);
  }
}
