import type { Readable, Writable } from 'node:stream';
import type { AgentClient } from '../../client/agent-client.js';
import type { ExitCode } from './exit-code.js';
import type { MigrationError } from '../../shared/errors.js';
import type { Output } from './output.js';
import type { Subject } from './whereabouts.js';

/** A terminal's input, or a pipe's; only the former has a raw mode. */
export type Input = Readable & { isTTY?: boolean; setRawMode?: (raw: boolean) => unknown };

/** The process that the command line runs in. */
export interface Terminal {
  readonly stdin: Input;
  readonly stdout: Writable & { isTTY?: boolean; columns?: number; rows?: number };
  readonly stderr: Writable;
  /** Calls `listener` for each Ctrl-C instead of ending the process; returns how to end that. */
  readonly onInterrupt: (listener: () => void) => () => void;
}

/** Options that every command has. */
export interface GlobalOptions {
  agent: string;
  json: boolean;
  'token-file': string | undefined;
  ca: string | undefined;
  certificate: string | undefined;
  key: string | undefined;
}

/** What a command works with. */
export interface Session {
  readonly terminal: Terminal;
  readonly output: Output;
  /** The agent that --agent or VMFERRY_AGENT names. */
  readonly client: AgentClient;
  /** What was thrown, as the user is told: with where in the cluster the command's subject is, if the asked agent has none. */
  readonly explain: (thrown: unknown) => Promise<MigrationError>;
}

/** Runs a command's action and turns what it throws into words and an exit code. */
export type Run = (
  options: GlobalOptions & { subject?: Subject },
  action: (session: Session) => Promise<ExitCode>,
) => Promise<void>;
