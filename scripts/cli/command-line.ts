import yargs, { type Argv } from 'yargs';
import { EXIT, type StatusReport } from '../../shared/api.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { AgentClient } from '../../client/agent-client.js';
import { agentCommand } from './agent-command.js';
import { benchCommand } from './bench-command.js';
import { cancelCommand } from './cancel-command.js';
import { clusterCommands } from './cluster-commands.js';
import { COMPLETION_OPTION, completedNames, withColons } from './completion.js';
import { completionCommand } from './completion-command.js';
import { drainCommands } from './drain-commands.js';
import { EXIT_MEANINGS, type ExitCode, exitCodeOfError } from './exit-code.js';
import { historyCommands } from './history-commands.js';
import { migrateCommand } from './migrate-command.js';
import { nearName } from './near-name.js';
import { Output } from './output.js';
import type { GlobalOptions, Run, Session, Terminal } from './session.js';
import { doctorCommand } from './doctor-command.js';
import { simulateCommand } from './simulate-command.js';
import { statusCommands } from './status-commands.js';
import { tokenCommand } from './token-command.js';
import { vmCommands } from './vm-commands.js';
import { withWhereabouts } from './whereabouts.js';

/** Whoever pressed Tab waits no longer for names. ms */
const COMPLETION_TIMEOUT_MS = 2000;

/** A line that is to be completed, as yargs has parsed it. */
interface CompletionArguments {
  _: (string | number)[];
}

export const DEFAULT_AGENT_URL = 'http://127.0.0.1:7800';

const GLOBAL_GROUP = 'Options of all commands:';

const EPILOGUE = `Exit codes: ${EXIT_MEANINGS.map(({ code, text }) => `${code} ${text}`).join('; ')}.`;

/** What yargs takes for the command that prints the script for shells; it would print it for `completion --help`, too. */
const HIDDEN_COMPLETION = '$completion';

/** Runs the command that `args` name (without 'node' and the script) and returns the process's exit code. */
export async function runCommandLine(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT.done;
  const run: Run = async ({ subject = {}, ...options }, action) => {
    const output = new Output(terminal.stdout, terminal.stderr, options.json);
    let explain: Session['explain'] = (thrown) => Promise.resolve(toMigrationError(thrown));
    try {
      const client = clientOf(options);
      // Scripts go by codes, and are not to wait for the nodes of a cluster to learn that a VM is not here.
      if (!options.json) {
        explain = (thrown) => withWhereabouts(toMigrationError(thrown), subject, client, args);
      }
      exitCode = await action({ terminal, output, client, explain });
    } catch (thrown) {
      const error = withRemedy(await explain(thrown));
      if (error.code === 'internal') output.remark(`a defect of vmferry: ${(thrown as Error).stack}`);
      output.failure(error);
      exitCode = exitCodeOfError(error);
    }
  };
  try {
    const completing = args[0] === COMPLETION_OPTION;
    const words = completing ? withColons(args) : args;
    await commandLine(words, run, completing ? await reportFor(words) : null).parseAsync();
  } catch (thrown) {
    if (!isUsageError(thrown)) throw thrown;
    // yargs has not come to parse --json where the line is wrong
    const output = new Output(terminal.stdout, terminal.stderr, args.includes('--json'));
    output.failure(new MigrationError('invalid-request', await usageText(thrown.message, args)));
    exitCode = EXIT.usage;
  }
  return exitCode;
}

/** What `--help` of the command that `path` names says, each row on one line. */
export async function helpText(path: readonly string[]): Promise<string> {
  const nothing: Run = () => Promise.reject(new Error('a help text runs nothing'));
  return await commandLine(path, nothing).wrap(null).getHelp();
}

function clientOf({ agent, 'token-file': tokenFile, ca, certificate, key }: GlobalOptions): AgentClient {
  return new AgentClient(agentUrl(agent), { tokenFile, ca, certificate, key });
}

/** What the agent of a line that is to be completed tells; null where it can't be asked: whoever presses Tab is to read of no error. */
async function reportFor(words: readonly string[]): Promise<StatusReport | null> {
  if (words.at(-1)?.startsWith('-')) return null;
  try {
    const options = globalOptions(yargs(words.slice(1)))
      .help(false)
      .version(false)
      .fail(false)
      .parseSync();
    return await clientOf(options).status(AbortSignal.timeout(COMPLETION_TIMEOUT_MS));
  } catch {
    return null;
  }
}

/** The line itself is wrong: yargs has said why. */
class UsageError extends Error {}

/** yargs throws some of its own past fail(); the class of those is not exported. */
function isUsageError(thrown: unknown): thrown is Error {
  return thrown instanceof UsageError || (thrown instanceof Error && thrown.name === 'YError');
}

/** `report`: what the agent tells of itself, for names in a line that is to be completed. */
function commandLine(
  args: readonly string[],
  run: Run,
  report: StatusReport | null = null,
): Argv<GlobalOptions> {
  const globals = globalOptions(ownOptionsFirst(yargs([...args])))
    .scriptName('vmferry')
    .usage(
      '$0 COMMAND\n\nMoves running virtual machines (VMs) from one host to another, each of which runs an agent.',
    )
    .example('$0 doctor', 'what is missing on the hosts, and how to mend it')
    .example('$0 vm define web.yaml && $0 vm start web', 'a first VM')
    .example('$0 migrate web --to b --dry-run', 'whether it could move; changes nothing')
    .example('$0 migrate web --to b', 'move it to node b')
    .group(['agent', 'token-file', 'ca', 'certificate', 'key', 'json', 'help', 'version'], GLOBAL_GROUP)
    .completion(
      HIDDEN_COMPLETION,
      false,
      // yargs goes on to run the command unless it has its answer at once.
      (
        current: string,
        { _: words }: CompletionArguments,
        byYargs: () => void,
        done: (names: string[]) => void,
      ) => {
        const line = { before: args.at(-2) ?? '', current, positionals: words.map(String) };
        const names = completedNames(line, report);
        return names ? done(names) : byYargs();
      },
    )
    // the last of two wins; names like 007 and 1e3 are names
    .parserConfiguration({
      'duplicate-arguments-array': false,
      'dot-notation': false,
      'parse-positional-numbers': false,
    })
    .strict()
    .strictCommands()
    .demandCommand(1, 'a command is missing')
    .epilogue(EPILOGUE)
    .exitProcess(false)
    .showHelpOnFail(false)
    .wrap(Math.min(110, process.stdout.columns ?? 110))
    .updateStrings({
      'Show help': 'show this help',
      'Show version number': 'show the version',
      // Its types have no strings with a plural.
      'Not enough non-option arguments: got %s, need at least %s': {
        one: 'an argument is missing: %s given, %s needed',
        other: 'an argument is missing: %s given, %s needed',
      } as unknown as string,
    })
    .fail((message: string | null, error: Error | undefined) => {
      throw error ?? new UsageError(message ?? 'the command line is not understood');
    });
  return [
    agentCommand,
    vmCommands,
    migrateCommand,
    statusCommands,
    clusterCommands,
    cancelCommand,
    drainCommands,
    historyCommands,
    doctorCommand,
    tokenCommand,
    benchCommand,
    simulateCommand,
    completionCommand,
  ].reduce((commands, add) => add(commands, run), globals);
}

/** yargs tells groups in the order in which they were made, and a command's own options are made last. */
function ownOptionsFirst(command: Argv): Argv {
  // Its types lack it.
  const grouping = command as Argv & { getGroups(): Record<string, string[]> };
  const getGroups = grouping.getGroups.bind(grouping);
  grouping.getGroups = () => {
    const { 'Positionals:': positionals = [], [GLOBAL_GROUP]: globals = [], ...own } = getGroups();
    // yargs adds those without a group.
    return { 'Positionals:': positionals, 'Options:': [], ...own, [GLOBAL_GROUP]: globals };
  };
  return grouping;
}

function globalOptions(command: Argv): Argv<GlobalOptions> {
  return command
    .option('agent', {
      type: 'string',
      describe: 'the agent to ask: its URL, or unix:/PATH (or the environment variable VMFERRY_AGENT)',
      default: process.env.VMFERRY_AGENT ?? DEFAULT_AGENT_URL,
      requiresArg: true,
    })
    .option('json', { type: 'boolean', describe: 'print one JSON document instead of text', default: false })
    .option('token-file', fileOption('the token for the API', 'VMFERRY_TOKEN_FILE'))
    .option('ca', fileOption('the CA of the agents, for https', 'VMFERRY_CA'))
    .option('certificate', fileOption('your certificate, for https', 'VMFERRY_CERTIFICATE'))
    .option('key', fileOption('the key of your certificate', 'VMFERRY_KEY'));
}

/** A file that proves who asks. Its name may be in the environment, never what is in it. */
function fileOption(what: string, variable: string) {
  const describe = `file with ${what} (or ${variable})`;
  const path = process.env[variable];
  const fallback = path === undefined ? {} : { default: path, defaultDescription: `$${variable}` };
  return { type: 'string', requiresArg: true, describe, ...fallback } as const;
}

/** The agent does not know with what program it is asked: how one proves who one is here is said here. */
function withRemedy(error: MigrationError): MigrationError {
  if (error.code !== 'unauthenticated') return error;
  const text = `${error.message}. Tokens are given with --token-file, certificates with --ca, --certificate and --key`;
  return new MigrationError(error.code, text, { cause: error });
}

/** What is wrong with the line, as yargs says it, and which command's help tells how to write it. */
async function usageText(message: string, args: readonly string[]): Promise<string> {
  const group: string[] = [];
  let names = commandNames(await helpText(group), group);
  for (const word of args.filter((arg) => /^[a-z]+$/.test(arg))) {
    if (!names.includes(word)) break;
    group.push(word);
    names = commandNames(await helpText(group), group);
  }
  const see = `See '${['vmferry', ...group, '--help'].join(' ')}'`;
  const unknown = /^Unknown commands?: ([^,]+)/.exec(message)?.[1];
  if (unknown === undefined) return `${message.replace(/[.?]+$/, '')}. ${see}`;
  // To yargs it is a command where one stands alone, too.
  if (names.length === 0) return `Unknown argument: ${unknown}. ${see}`;
  const near = nearName(unknown, names);
  const meant = near === undefined ? '. ' : `; did you mean '${[...group, near].join(' ')}'? `;
  return `there is no command '${[...group, unknown].join(' ')}'${meant}${see}`;
}

/** The commands that the help of the program, or of a group of commands, lists. */
function commandNames(help: string, group: readonly string[]): string[] {
  const line = new RegExp(`^ {2}${['vmferry', ...group].join(' ')} ([a-z]+)\\b.* {2}`, 'gm');
  return [...(help.split('\n\nExamples:')[0] ?? '').matchAll(line)].map(([, name]) => name!);
}

function agentUrl(text: string): string {
  if (/^unix:\/./.test(text)) return text;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new MigrationError(
      'invalid-request',
      `agent '${text}' is no URL. Write it like ${DEFAULT_AGENT_URL} or unix:/run/vmferry/agent.sock`,
    );
  }
  return url.href;
}
