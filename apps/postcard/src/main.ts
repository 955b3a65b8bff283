import { runService } from '@sluice/service';
import { postcardService } from './postcard.service.js';

await runService(() => postcardService());
