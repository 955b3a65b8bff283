export { holderOf, isPortFree, requireFreePort } from './free-port.js';
export {
  choice,
  ConfigurationError,
  decimal,
  duration,
  flag,
  integer,
  optionalText,
  port,
  readSettings,
  required,
  secret,
  text,
  type Setting,
  type SettingsOf,
} from './settings.js';
export { type Expectation, faultAt, type FileFault, FileFaults, pathText, shown } from './file-fault.js';
export { nearestName } from './nearest-name.js';
export { callerSecretFor, gatewaySecretFor } from './service-secret.js';
export { misspeltSettings, namedByConfiguration, unreadSettings } from './unread-settings.js';
export { schemaFaults } from './schema-faults.js';
export { readYamlFile, YamlFile } from './yaml-file.js';
