import { MigrationError, toMigrationError } from '../../../shared/errors.js';
import type { EmbeddedDefinition } from '../../../shared/guest-definition.js';
import type { GuestKind } from '../hosted-guest.js';
import { loadElf } from './elf.js';
import { EmbeddedGuest } from './embedded-guest.js';
import { buildProgram } from './programs/catalogue.js';

/** Guests on the built-in machine: they need nothing of the host, and end with the agent. */
export const embeddedKind: GuestKind<EmbeddedDefinition> = {
  check(definition, image) {
    if (definition.program === 'image') {
      if (!image) {
        const text = `VM ${definition.name} has program 'image' and no image came with it: give the ELF file`;
        throw new MigrationError('invalid-definition', text, { field: ['program'] });
      }
      checkImage(image, definition.memory);
      return;
    }
    if (image) {
      const text = `VM ${definition.name} has program '${definition.program}' and an image: leave one of them out`;
      throw new MigrationError('invalid-definition', text, { field: ['program'] });
    }
    buildProgram(definition.program, definition.parameters, definition.memory);
  },
  boot: (definition, image) => EmbeddedGuest.boot(definition, image),
  async incoming(definition) {
    const guest = await EmbeddedGuest.incoming(definition);
    return { regions: guest.regions, machine: Promise.resolve(guest), destroy: () => guest.destroy() };
  },
  regions: ({ memory }) => [{ name: 'ram', bytes: memory }],
};

function checkImage(image: Uint8Array, memoryBytes: number): void {
  try {
    loadElf(image, new Uint8Array(memoryBytes));
  } catch (error) {
    const { code, message } = toMigrationError(error);
    throw new MigrationError(code, message, { cause: error, field: ['image'] });
  }
}
