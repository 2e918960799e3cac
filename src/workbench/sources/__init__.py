"""Published layouts, one file each: `workbench import NAME FILE ...` calls import_files of sources/NAME.py."""
