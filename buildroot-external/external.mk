include $(BR2_EXTERNAL_DAU_PATH)/dau.mk
include $(sort $(wildcard $(BR2_EXTERNAL_DAU_PATH)/package/*/*.mk))
include $(sort $(wildcard $(BR2_EXTERNAL_DAU_PATH)/fs/*/*.mk))
