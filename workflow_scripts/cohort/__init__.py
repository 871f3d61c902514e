"""Cases on disk: layouts, checks, splits, preprocessing, tumour measurements and the embedded demo cohort."""
