import { MigrationError } from '../../shared/errors.js';
import { loadElf } from './embedded/elf.js';
import { EmbeddedGuest } from './embedded/embedded-guest.js';
import { buildProgram } from './embedded/programs/catalogue.js';
import type { GuestKinds } from './hosted-guest.js';

/** The kinds of guests that this agent can host. */
export const GUEST_KINDS: GuestKinds = {
  embedded: {
    check(definition, image) {
      if (definition.program === 'image') {
        if (!image) {
          const text = `VM ${definition.name} has program 'image' and no image came with it: give the ELF file`;
          throw new MigrationError('invalid-definition', text);
        }
        loadElf(image, new Uint8Array(definition.memory));
        return;
      }
      if (image) {
        const text = `VM ${definition.name} has program '${definition.program}' and an image: leave one of them out`;
        throw new MigrationError('invalid-definition', text);
      }
      buildProgram(definition.program, definition.parameters, definition.memory);
    },
    boot: (definition, image) => EmbeddedGuest.boot(definition, image),
    incoming: (definition) => EmbeddedGuest.incoming(definition),
    regions: ({ memory }) => [{ name: 'ram', bytes: memory }],
  },
};
