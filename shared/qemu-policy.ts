import { z } from 'zod';
import { MAX_CPUS } from './guest-definition.js';

/** What a QEMU definition that comes from another node may name on this one. Whatever is not named here is refused. */
export const QemuPolicySchema = z.strictObject({
  files: z
    .array(
      z
        .string()
        .regex(/^\/(?!.*\/\.{1,2}(\/|$))/, "must be an absolute path without '.' and '..'")
        .transform((path) => path.replace(/(?<=.)\/+$/, '')),
    )
    .prefault(['/var/lib/vmferry/images'])
    .describe(
      'Directories, or single files, that may be disks, kernels and initrds. Links may not lead out of them, but for those in /dev, which ' +
        'root alone makes; block devices need an entry in /dev.',
    )
    .meta({ allowed: 'absolute paths' }),
  taps: z
    .array(z.string().regex(/^[A-Za-z0-9_.-]{0,15}\*?$/, "must be like 'tap0' or 'vmferry*'"))
    .default(['vmferry*'])
    .describe('Tap devices.')
    .meta({ allowed: 'names; a `*` at the end stands for any rest' }),
  arguments: z
    .array(z.string().regex(/^-[a-z0-9][\w-]*( \S.*)?$/i, "must be like '-rtc base=utc'"))
    .default([])
    .describe(
      "Arguments for QEMU. The VM's value must have all of the keys that have a value here, may have those that are `*` here, and no others.",
    )
    .meta({ allowed: '`-OPTION`, or `-OPTION VALUE` as in `-device virtio-rng-pci,id=*`' }),
  cpus: z
    .number()
    .int()
    .min(1)
    .max(MAX_CPUS)
    .optional()
    .describe('Most virtual processors of one VM.')
    .meta({ fallback: 'what `nproc` tells the agent of its host' }),
});

export type QemuPolicy = z.output<typeof QemuPolicySchema>;
