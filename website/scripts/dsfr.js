// The parts of DSFR that move: the menu of small screens.
import "@gouvfr/dsfr/dist/core/core.module.min.js";
import "@gouvfr/dsfr/dist/component/modal/modal.module.min.js";
import "@gouvfr/dsfr/dist/component/navigation/navigation.module.min.js";
import "@gouvfr/dsfr/dist/component/header/header.module.min.js";
