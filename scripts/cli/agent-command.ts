import type { Argv } from 'yargs';
import { EXIT } from '../../shared/api.js';
import type { GlobalOptions, Run } from './session.js';

/** The daemon itself: it logs on its own, and nothing of it is a result to print. */
export function agentCommand(yargs: Argv<GlobalOptions>, run: Run): Argv<GlobalOptions> {
  return yargs.command(
    'agent',
    'run the agent of this host',
    (command) =>
      command
        .option('config', {
          type: 'string',
          demandOption: true,
          requiresArg: true,
          describe: 'file with its configuration, in YAML',
        })
        .example('$0 agent --config /etc/vmferry/agent.yaml', 'runs until SIGTERM or SIGINT'),
    async (args) => {
      await run(args, async () => {
        // loaded here alone: no other command needs the agent's code
        const { runAgent } = await import('../../agent/main.js');
        return (await runAgent(args.config)) === 0 ? EXIT.done : EXIT.failed;
      });
    },
  );
}
