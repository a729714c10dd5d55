import type { Argv } from 'yargs';
import type { GlobalOptions, Run } from './session.js';

/** `vmferry completion`: the script with which a shell asks what it can complete. */
export function completionCommand(yargs: Argv<GlobalOptions>, _run: Run): Argv<GlobalOptions> {
  return yargs.command(
    'completion',
    'print a script for bash or zsh that completes commands, options and names',
    (command) =>
      command
        .example('source <($0 completion)', 'for this shell: bash or zsh, as the variable SHELL says')
        .example('$0 completion >> ~/.bashrc', 'for all to come; the Debian package has done it already'),
    () => {
      yargs.showCompletionScript();
    },
  );
}
