import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { runCommand } from './api-terminal.js';

/** Whatever the test leaves behind is ended by it. */
interface Test {
  teardown(callback: () => Promise<void>): void;
}

/**
 * A command `vmferry` for scripts that a test has call it often: its path, in `directory`. What it is told to do is done by the command line
 * in this process, since starting a process for it takes half a second of processor. It can't be interrupted.
 */
export async function vmferryCommand(t: Test, directory: string): Promise<string> {
  const server = createServer((socket) => {
    let received = '';
    socket.on('error', () => undefined);
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      received += chunk;
      const [count, ...words] = received.split('\0');
      const args = words.slice(0, -1);
      if (args.length !== Number(count)) return;
      void runCommand(args).then(({ exitCode, stdout }) => socket.end(`${exitCode}\n${stdout}`));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    server.close();
    await once(server, 'close');
  });
  const { port } = server.address() as AddressInfo;
  const path = join(directory, 'vmferry');
  const script = `#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/${port} || exit 1
printf '%s\\0' $(($# + 2)) --agent "$VMFERRY_AGENT" "$@" >&3
read -r code <&3
cat <&3
exit "$code"
`;
  await writeFile(path, script, { mode: 0o755 });
  return path;
}
