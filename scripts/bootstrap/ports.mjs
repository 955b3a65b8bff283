import { PROCESSES } from '../../libs/launch/process-table.mjs';
import { describeTakenPorts, fixedPorts, takenText } from '../../libs/launch/ports.mjs';
import { Stop } from './console.mjs';

/** EX_CONFIG of sysexits.h. */
const CONFIG = 78;

/** Stops for a port that is none or that something else listens on, before the install and the build. */
export async function checkPorts(environment) {
  const { ports, faults } = fixedPorts(PROCESSES, environment);
  if (faults.length > 0) throw new Stop(faults.join('\n'), CONFIG);
  // What an outgoing connection holds for a moment is waited for at the start itself.
  const taken = (await describeTakenPorts(ports)).filter(({ passing }) => !passing);
  if (taken.length > 0) throw new Stop(takenText(taken));
}
