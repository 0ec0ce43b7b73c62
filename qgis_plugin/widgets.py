"""The dialog's box for a model: suggestions to pick from, free text, and a button for a file."""

from __future__ import annotations

from typing import List, Tuple

from processing.gui.wrappers import DIALOG_MODELER, WidgetWrapper
from qgis.core import (
    QgsProcessingOutputFile,
    QgsProcessingOutputString,
    QgsProcessingParameterFile,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QToolButton, QWidget

from . import settings
from .engine.modelfolder import DEFAULT, METHODS, SUFFIXES

SEPARATOR = "; "
FILTER = " ".join(f"*{suffix}" for suffix in SUFFIXES)


class ModelWidgetWrapper(WidgetWrapper):
    """For the parameter MODEL, in the dialog, the batch table and the modeler."""

    def createWidget(self) -> QWidget:
        """A combo box that takes free text, and a button that asks for a file."""
        self._combo = QComboBox()
        self._combo.setEditable(True)
        self._combo.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        for name, about in self.names():
            self._combo.addItem(name, name)
            self._combo.setItemData(self._combo.count() - 1, about, Qt.ItemDataRole.ToolTipRole)
        if self.dialogType == DIALOG_MODELER:
            for value in self.dialog.getAvailableValuesOfType(
                [QgsProcessingParameterString, QgsProcessingParameterFile],
                [QgsProcessingOutputString, QgsProcessingOutputFile],
            ):
                self._combo.addItem(self.dialog.resolveValueDescription(value), value)
        if self.parameterDefinition().defaultValue() is None:
            self._combo.setCurrentIndex(-1)  # an editable box begins with its first item otherwise
        self._combo.currentTextChanged.connect(lambda _: self.widgetValueHasChanged.emit(self))
        button = QToolButton()
        button.setText("…")
        button.setToolTip(self.tr("Choose a model file"))
        button.clicked.connect(self._choose)
        widget = QWidget()
        layout = QHBoxLayout(widget)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo, 1)
        layout.addWidget(button)
        return widget

    def names(self) -> List[Tuple[str, str]]:
        """What is suggested, and what each of it is."""
        return [
            (DEFAULT, "chosen by the bands of the images"),
            *own(),
            *((name, "comes with the engine") for name in settings.shipped_models()),
            *((method, "training-free method") for method in METHODS),
        ]

    def setValue(self, value: object) -> None:
        """Shows a value."""
        self.setComboValue(value, combobox=self._combo)

    def value(self) -> object:
        """What was chosen or typed; in the modeler possibly a reference to another value."""
        return self.comboValue(combobox=self._combo)

    def _choose(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self.widget, self.tr("Model file"), settings.models_folder(), self.tr("Model files") + f" ({FILTER})"
        )
        if path:
            self._combo.setEditText(path)


class OwnModelWidgetWrapper(ModelWidgetWrapper):
    """Where only a trained model makes sense: the user's own."""

    def names(self) -> List[Tuple[str, str]]:
        """The models of the folder."""
        return own()


class OwnModelsWidgetWrapper(OwnModelWidgetWrapper):
    """Several of them, with semicolons in between: what is picked or chosen as a file joins what is there already.

    A parameter of type "several layers" with files has a widget in QGIS too, but that of 3.22 forgets files that it is
    given by a saved batch or by the history.
    """

    def createWidget(self) -> QWidget:
        """The box of one model, which adds."""
        self._there = ""
        widget = super().createWidget()
        self._combo.setCurrentIndex(-1)
        self._combo.lineEdit().textEdited.connect(self._remember)
        if self.dialogType != DIALOG_MODELER:  # there an item may stand for another value, and is picked alone
            self._combo.activated.connect(lambda index: self._add([self._combo.itemText(index)]))
        return widget

    def setValue(self, value: object) -> None:
        """Shows a text, or a list of names."""
        if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value):
            value = SEPARATOR.join(value)
        super().setValue(value)
        self._remember(self._combo.currentText())

    def _choose(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(
            self.widget, self.tr("Model files"), settings.models_folder(), self.tr("Model files") + f" ({FILTER})"
        )
        self._add(paths)

    def _remember(self, text: str) -> None:
        self._there = text

    def _add(self, names: List[str]) -> None:
        there = [name.strip() for name in self._there.split(";") if name.strip()]
        self._remember(SEPARATOR.join([*there, *(name for name in names if name not in there)]))
        self._combo.setEditText(self._there)


def own() -> List[Tuple[str, str]]:
    """The user's models: names and what they are."""
    return [(model.label, model.about) for model in settings.own_models()]
