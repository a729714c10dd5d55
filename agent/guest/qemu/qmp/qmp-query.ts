import type { z } from 'zod';
import { validate } from '../../../../shared/validate.js';
import type { QmpConnection } from './qmp-connection.js';
import type { WaitLimits } from './qmp-waiter.js';

/**
 * What a command returns, of the schema's shape. Rejects as `execute` does, and with guest-failed where QEMU answers
 * in another shape.
 */
export async function queryQmp<Schema extends z.ZodType>(
  connection: Pick<QmpConnection, 'execute'>,
  schema: Schema,
  command: string,
  parameters: object = {},
  limits: WaitLimits = {},
): Promise<z.output<Schema>> {
  const value = await connection.execute(command, parameters, limits);
  return validate(schema, value, 'guest-failed', `QEMU's answer to ${command}`);
}
