import { libc } from '../../agent/system/libc.js';
import { TracedThread } from '../../agent/system/traced-thread.js';

/** Traces the process of its first argument until it is killed, as the user of its second; tells the error if it can't. */
const [pid, user] = process.argv.slice(2).map(Number);

libc();
if (user !== undefined) process.setuid!(user);
try {
  TracedThread.attach(pid!, pid!);
  process.send!('traced');
  setInterval(() => undefined, 2 ** 30);
} catch (error) {
  process.send!((error as Error).message, () => process.disconnect());
}
