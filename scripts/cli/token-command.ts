import { writeFile } from 'node:fs/promises';
import type { Argv } from 'yargs';
import { EXIT } from '../../shared/api.js';
import { createToken, tokenLine } from '../../shared/api-tokens.js';
import { MigrationError } from '../../shared/errors.js';
import { NameSchema } from '../../shared/names.js';
import { validate } from '../../shared/validate.js';
import type { GlobalOptions, Run } from './session.js';

/** `vmferry token create`: makes a token; no agent is asked. */
export function tokenCommand(yargs: Argv<GlobalOptions>, run: Run): Argv<GlobalOptions> {
  return yargs.command('token', 'tokens for the API of agents', (token) => {
    token.command(
      'create <name>',
      "make a token, and the line for the agents' file of tokens that makes them accept it",
      (command) =>
        command
          .positional('name', {
            type: 'string',
            demandOption: true,
            describe: 'who is to have it; logs show this name',
          })
          .option('role', {
            choices: ['read', 'operate'] as const,
            demandOption: true,
            describe: 'read: may look; operate: may act, too',
          })
          .option('out', {
            type: 'string',
            requiresArg: true,
            describe: 'write the token to this new file, for --token-file, instead of printing it',
          })
          .example(
            '$0 token create ci --role operate --out ci.token',
            'the line that it prints is for each agent, the file ci.token for ci',
          ),
      async (args) => {
        await run(args, async ({ output }) => {
          const name = validate(NameSchema, args.name, 'invalid-request', 'the name of the token');
          const { token, entry } = createToken(name, args.role);
          const line = tokenLine(entry);
          if (args.out !== undefined) await writeToken(args.out, token);
          const where = "the file that 'tokens' in the agents' configuration names, and send them SIGHUP";
          if (args.out === undefined) {
            output.result({ ...entry, line, token }, () =>
              [`token, shown this once: ${token}`, `add this line to ${where}:`, line].join('\n'),
            );
          } else {
            // the line alone, so that it can be appended: >> tokens.yaml
            output.result({ ...entry, line }, () => line);
            if (!args.json) output.remark(`the token is in ${args.out}; add the line to ${where}`);
          }
          return EXIT.done;
        });
      },
    );
    return token.demandCommand(1, 'say what: create');
  });
}

async function writeToken(path: string, token: string): Promise<void> {
  try {
    await writeFile(path, `${token}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    const text = `--out: ${(error as Error).message}; name a file that is not there yet`;
    throw new MigrationError('invalid-request', text, { cause: error });
  }
}
